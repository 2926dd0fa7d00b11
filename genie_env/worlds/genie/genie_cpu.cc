#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <span>
#include <stdexcept>
#include <utility>
#include <vector>

#include "genie_env/models/layers/quantizer.h"
#include "genie_env/tensor/scratch_pool.h"
#include "genie_env/tensor/shared_rows.h"
#include "genie_env/worlds/genie/features.h"
#include "genie_env/worlds/genie/frozen_genie.h"
#include "genie_env/worlds/genie/transformer_cpu.h"

namespace genie_env {
namespace {

/// cos and sin of a frame's RoPE angles in the layout of HeadsBlock. The angles are computed in
/// double: float32 would lose them in a dream of many thousand frames.
struct Angles {
  explicit Angles(int64_t head) : cosines(head), sines(head) {}

  void Set(int64_t time) {
    const auto head = static_cast<double>(cosines.size());
    for (size_t i = 0; i < cosines.size(); i += 2) {
      const double angle =
          static_cast<double>(time) * std::pow(kRopeBase, -static_cast<double>(i) / head);
      cosines[i] = cosines[i + 1] = static_cast<float>(std::cos(angle));
      sines[i + 1] = static_cast<float>(std::sin(angle));
      sines[i] = -sines[i + 1];
    }
  }

  std::vector<float> cosines, sines;
};

/// Maps between frames and patches (models/genie/clip.h).
class Patches {
 public:
  explicit Patches(const ClipSizes& sizes) : sizes_(sizes) {}

  /// Calls move(patch, offset in the patch, offset in the frame) for every run of 3 * patch numbers
  /// that is contiguous in both.
  template <typename Move>
  void ForEachRun(const Move& move) const {
    const int64_t patch = sizes_.patch, columns = sizes_.columns();
    for (int64_t s = 0; s < sizes_.positions(); ++s) {
      const int64_t top = s / columns * patch, left = s % columns * patch;
      for (int64_t y = 0; y < patch; ++y) {
        move(s, y * patch * 3, ((top + y) * sizes_.width + left) * 3);
      }
    }
  }

  int64_t run() const { return sizes_.patch * 3; }
  int64_t bytes() const { return sizes_.height * sizes_.width * 3; }

 private:
  ClipSizes sizes_;
};

template <typename Element>
class GenieCpu final : public FrozenGenie {
 public:
  explicit GenieCpu(const GenieWeights& w)
      : clip_(w.tokenizer_sizes.clip),
        patches_(clip_),
        positions_(clip_.positions()),
        order_(w.order),
        schedule_(MaskSchedule(positions_, w.dynamics_sizes.passes)),
        encoder_(TransformerOf(w.tokenizer, "encoder", w.tokenizer_sizes.encoder_blocks,
                               w.tokenizer_sizes.block, false),
                 positions_, w.tokenizer_sizes.window),
        decoder_(TransformerOf(w.tokenizer, "decoder", w.tokenizer_sizes.decoder_blocks,
                               w.tokenizer_sizes.block, true),
                 positions_, 1),
        dynamics_(TransformerOf(w.dynamics, "transformer", w.dynamics_sizes.blocks,
                                w.dynamics_sizes.block, false),
                  positions_, w.dynamics_sizes.window),
        embed_(LinearOf(w.tokenizer, "embed")),
        to_code_(LinearOf(w.tokenizer, "to_code")),
        to_pixels_(LinearOf(w.tokenizer, "to_pixels")),
        to_logits_(LinearOf(w.dynamics, "to_logits")),
        nearest_({Directions(w), at::zeros({w.tokenizer_sizes.codes}, at::kFloat)}),
        encoder_positions_(w.tokenizer.at("encoder_positions").contiguous()),
        decoder_positions_(w.tokenizer.at("decoder_positions").contiguous()),
        dynamics_positions_(w.dynamics.at("positions").contiguous()),
        decoder_table_(Mapped(Directions(w), LinearOf(w.tokenizer, "from_code"))),
        token_table_(w.dynamics.at("embedding").contiguous()),
        action_table_(Mapped(w.action_codes, LinearOf(w.dynamics, "from_action"))),
        feature_areas_(FeatureAreas(clip_)),
        kernels_(SupportedTransformerKernels<Bits>().back()) {
    if (w.dynamics_sizes.block.columns > 0) {
      previous_table_ = w.dynamics.at("previous").contiguous();
    }
  }

  void Begin(const GenieState& state, const at::Tensor& rows,
             const at::Tensor& tokens) const override {
    const auto* row = rows.const_data_ptr<int64_t>();
    ForEachRow(rows.size(0), [&](const Loops& loops, Workspace& workspace, int64_t i) {
      Restart(state, row[i]);
      std::copy_n(tokens.const_data_ptr<int64_t>() + i * positions_, positions_,
                  Tokens(state, row[i]));
      Commit(loops, workspace, state, row[i], nullptr, All(workspace));
    });
  }

  void BeginFrames(const GenieState& state, const at::Tensor& rows,
                   const at::Tensor& frames) const override {
    const auto* row = rows.const_data_ptr<int64_t>();
    ForEachRow(rows.size(0), [&](const Loops& loops, Workspace& workspace, int64_t i) {
      Restart(state, row[i]);
      Encode(loops, workspace, state, row[i],
             frames.const_data_ptr<uint8_t>() + i * patches_.bytes());
      Commit(loops, workspace, state, row[i], nullptr, All(workspace));
    });
  }

  at::Tensor Dream(const GenieState& state, const at::Tensor& actions,
                   const FrameDraws& draws) const override {
    const int64_t rows = actions.size(0);
    at::Tensor surprise = at::empty({rows}, at::kFloat);
    ForEachRow(rows, [&](const Loops& loops, Workspace& workspace, int64_t row) {
      const float temperature = draws.temperature.const_data_ptr<float>()[row];
      const float* uniform = draws.uniform.const_data_ptr<float>() + row * positions_;
      const auto draw = [&](int64_t position, const float* products, float top) {
        return kernels_.sample(to_logits_.outputs(), products, to_logits_.bias(), top,
                               1.0f / temperature, uniform[position]);
      };
      const float* action = Action(actions, row);
      KeepPrevious(workspace, state, row);
      surprise.mutable_data_ptr<float>()[row] =
          Unmask(loops, workspace, state, row, action, Order(draws.order, row), draw);
      std::copy(workspace.tokens.begin(), workspace.tokens.end(), Tokens(state, row));
      state.encoder_time.mutable_data_ptr<int64_t>()[row] = 0;
      Commit(loops, workspace, state, row, action, workspace.unmasked);
    });
    return surprise;
  }

  at::Tensor Follow(const GenieState& state, const at::Tensor& actions, const at::Tensor& frames,
                    const at::Tensor& order) const override {
    const int64_t rows = actions.size(0);
    at::Tensor surprise = at::empty({rows}, at::kFloat);
    ForEachRow(rows, [&](const Loops& loops, Workspace& workspace, int64_t row) {
      KeepPrevious(workspace, state, row);
      Encode(loops, workspace, state, row,
             frames.const_data_ptr<uint8_t>() + row * patches_.bytes());
      const int64_t* given = Tokens(state, row);
      const float* action = Action(actions, row);
      surprise.mutable_data_ptr<float>()[row] =
          Unmask(loops, workspace, state, row, action, Order(order, row),
                 [&](int64_t position, const float*, float) { return given[position]; });
      Commit(loops, workspace, state, row, action, workspace.unmasked);
    });
    return surprise;
  }

  at::Tensor Decode(const at::Tensor& tokens, const at::Tensor& out) const override {
    const int64_t rows = tokens.size(0);
    at::Tensor frames =
        out.defined() ? out : at::empty({rows, clip_.height, clip_.width, 3}, at::kByte);
    ForEachRow(rows, [&](const Loops& loops, Workspace& workspace, int64_t row) {
      float* x = workspace.transformer.x.template mutable_data_ptr<float>();
      const int64_t width = decoder_.width();
      for (int64_t s = 0; s < positions_; ++s) {
        const int64_t token = tokens.const_data_ptr<int64_t>()[row * positions_ + s];
        AddTo(x + s * width, width, decoder_table_.const_data_ptr<float>() + token * width,
              decoder_positions_.const_data_ptr<float>() + s * width);
      }
      decoder_.Run(loops, workspace.transformer, nullptr, All(workspace), All(workspace));
      float* pixels = workspace.outputs.template mutable_data_ptr<float>();
      to_pixels_.Write(PaddedPositions(positions_),
                       BitsOfTensor<Element>(workspace.transformer.input), pixels);
      const float* bias = to_pixels_.bias();
      uint8_t* frame = frames.mutable_data_ptr<uint8_t>() + row * patches_.bytes();
      patches_.ForEachRun([&](int64_t s, int64_t from, int64_t to) {
        const float* patch = pixels + s * to_pixels_.padded_outputs();
        for (int64_t i = from; i < from + patches_.run(); ++i) {
          const float level = std::nearbyint((patch[i] + bias[i] + 0.5f) * 255.0f);
          frame[to + i - from] = static_cast<uint8_t>(std::clamp(level, 0.0f, 255.0f));
        }
      });
    });
    return frames;
  }

 private:
  using Bits = BitsOf<Element>;
  using Loops = typename TransformerCpu<Element>::Loops;

  /// The buffers of one thread.
  struct Workspace {
    explicit Workspace(const GenieCpu& owner)
        : transformer(owner.positions_, std::max(owner.encoder_.width(), owner.dynamics_.width()),
                      std::max(owner.encoder_.time_scores(), owner.dynamics_.time_scores())),
          dynamics_angles(owner.dynamics_.sizes().head()),
          encoder_angles(owner.encoder_.sizes().head()),
          tokens(owner.positions_),
          previous(owner.positions_),
          run(owner.patches_.run()) {
      const int64_t padded = PaddedPositions(owner.positions_);
      patches = at::zeros({padded, owner.embed_.stride()}, kTypeOf<Element>);
      outputs = at::zeros(
          {padded, std::max({owner.to_logits_.padded_outputs(), owner.to_pixels_.padded_outputs(),
                             owner.nearest_.padded_outputs()})},
          at::kFloat);
      latents = at::zeros({padded, owner.nearest_.stride()}, at::kFloat);
    }
    TransformerWorkspace<Element> transformer;
    Angles dynamics_angles, encoder_angles;
    std::vector<int64_t> tokens;         // of the frame that is being unmasked
    std::vector<int64_t> previous;       // of the frame before it
    std::vector<float> run;              // pixels of a patch that lie in one place
    std::vector<int32_t> hidden;         // masked positions
    std::vector<int32_t> unmasked;       // positions that the last pass has unmasked
    std::vector<Categorical> described;  // the logits of each masked position
    std::vector<std::pair<float, int32_t>>
        ranked;          // (-rank, index into hidden): the first is unmasked first
    at::Tensor patches;  // [padded, 3 patch^2]
    at::Tensor latents;  // float32 [padded, code dimensions]
    at::Tensor outputs;  // float32 [padded, outputs of a last layer]
  };

  // Calls task(loops, workspace, row) for all rows, on all threads.
  template <typename Task>
  void ForEachRow(int64_t rows, const Task& task) const {
    if constexpr (kIsBf16<Element>) CheckBf16StillWorks();
    const int64_t ranges = rows * PaddedPositions(positions_) / kPositionGroup;
    const int64_t threads = std::min<int64_t>(ranges, at::get_num_threads());
    SharedRows shared(rows, threads);
    at::parallel_for(0, threads, 1, [&](int64_t, int64_t) {
      const TileScope tiles(kIsBf16<Element>);
      std::unique_ptr<Workspace> workspace = workspaces_.Take(
          [](const auto&) { return true; }, [&] { return std::make_unique<Workspace>(*this); });
      shared.Work(workspace->transformer,
                  [&](const Loops& loops, int64_t row) { task(loops, *workspace, row); });
      workspaces_.Give(std::move(workspace));
    });
  }

  static at::Tensor Directions(const GenieWeights& w) {
    return UnitLength(w.tokenizer.at("quantizer.codebook")).contiguous();
  }

  static at::Tensor Mapped(const at::Tensor& codes, const LinearWeights& linear) {
    return (at::matmul(codes, linear.weight.t()) + linear.bias).contiguous();
  }

  static std::span<const int32_t> All(const Workspace& workspace) {
    return {workspace.transformer.places.data(), workspace.tokens.size()};
  }

  int64_t* Tokens(const GenieState& state, int64_t row) const {
    return state.tokens.mutable_data_ptr<int64_t>() + row * positions_;
  }

  const float* Action(const at::Tensor& actions, int64_t row) const {
    return action_table_.const_data_ptr<float>() +
           actions.const_data_ptr<int64_t>()[row] * dynamics_.width();
  }

  const float* Order(const at::Tensor& order, int64_t row) const {
    return order_ == UnmaskOrder::kRandom ? order.const_data_ptr<float>() + row * positions_
                                          : nullptr;
  }

  static void AddTo(float* out, int64_t width, const float* a, const float* b) {
    for (int64_t i = 0; i < width; ++i) out[i] = a[i] + b[i];
  }

  // Slots of an earlier episode are never visible. They are cleared so that equal dreams have equal
  // states.
  void Restart(const GenieState& state, int64_t row) const {
    state.time.mutable_data_ptr<int64_t>()[row] = 0;
    state.encoder_time.mutable_data_ptr<int64_t>()[row] = 0;
    const auto clear = [&](const at::Tensor& kv_cache, int64_t size) {
      std::fill_n(BitsOfTensor<Element>(kv_cache) + row * size, size, Bits{});
    };
    clear(state.kv_cache, dynamics_.kv_cache_size());
    clear(state.encoder_kv_cache, encoder_.kv_cache_size());
  }

  static KvCacheView<Element> CacheView(const TransformerCpu<Element>& transformer,
                                        const at::Tensor& kv_cache, int64_t row, int64_t time,
                                        Angles& angles, bool commit) {
    angles.Set(time);
    return {.data = BitsOfTensor<Element>(kv_cache) + row * transformer.kv_cache_size(),
            .time = time,
            .cosines = angles.cosines.data(),
            .sines = angles.sines.data(),
            .commit = commit};
  }

  // Encodes `frame` into the row's tokens and advances the tokenizer's KV cache.
  void Encode(const Loops& loops, Workspace& workspace, const GenieState& state, int64_t row,
              const uint8_t* frame) const {
    const int64_t padded = PaddedPositions(positions_), width = encoder_.width();
    Bits* patches = BitsOfTensor<Element>(workspace.patches);
    std::vector<float>& run = workspace.run;
    patches_.ForEachRun([&](int64_t s, int64_t to, int64_t from) {
      for (int64_t i = 0; i < patches_.run(); ++i) {
        run[i] = static_cast<float>(frame[from + i]) * (1.0f / 255) - 0.5f;
      }
      kernels_.convert(1, patches_.run(), run.data(), 0, patches + s * embed_.stride() + to, 0);
    });
    TransformerWorkspace<Element>& inner = workspace.transformer;
    float* x = inner.x.template mutable_data_ptr<float>();
    std::copy_n(encoder_positions_.const_data_ptr<float>(), positions_ * width, x);
    embed_.ForEachPanel(padded, patches, workspace.outputs.template mutable_data_ptr<float>(),
                        [&](int64_t column, int64_t columns, const float* products) {
                          kernels_.add(positions_, columns, products, embed_.kColumns,
                                       embed_.bias() + column, x + column, width);
                        });
    int64_t& time = state.encoder_time.mutable_data_ptr<int64_t>()[row];
    const KvCacheView<Element> cache =
        CacheView(encoder_, state.encoder_kv_cache, row, time, workspace.encoder_angles, true);
    encoder_.Run(loops, inner, &cache, All(workspace), All(workspace));
    ++time;
    Quantize(workspace, Tokens(state, row));
  }

  // Finds the code with the largest cosine similarity; the first of equal ones. It computes in
  // float32, because bfloat16 cannot tell neighbouring codes apart.
  void Quantize(Workspace& workspace, int64_t* tokens) const {
    const int64_t padded = PaddedPositions(positions_);
    float* outputs = workspace.outputs.template mutable_data_ptr<float>();
    float* latents = workspace.latents.template mutable_data_ptr<float>();
    to_code_.ForEachPanel(padded, BitsOfTensor<Element>(workspace.transformer.input), outputs,
                          [&](int64_t column, int64_t columns, const float* products) {
                            for (int64_t s = 0; s < positions_; ++s) {
                              AddTo(latents + s * nearest_.stride() + column, columns,
                                    products + s * to_code_.kColumns, to_code_.bias() + column);
                            }
                          });
    nearest_.Write(padded, latents, outputs);
    for (int64_t s = 0; s < positions_; ++s) {
      const float* products = outputs + s * nearest_.padded_outputs();
      const float* best = std::max_element(products, products + nearest_.outputs());
      if (!std::isfinite(*best)) {
        throw std::runtime_error(
            "frames: the tokenizer encodes them to numbers that are not "
            "finite: its weights overflow; load the world with dtype "
            "\"float32\", or train and freeze it again");
      }
      tokens[s] = best - products;
    }
  }

  // Before the row's tokens are those of the next frame.
  void KeepPrevious(Workspace& workspace, const GenieState& state, int64_t row) const {
    std::copy_n(Tokens(state, row), positions_, workspace.previous.begin());
  }

  // Writes the dynamics' input for a partly masked frame to x. action: the embedding of the action
  // that leads to the frame, after workspace.previous; null for a row's first frame.
  void Embed(Workspace& workspace, const int64_t* tokens, const float* action) const {
    const int64_t width = dynamics_.width();
    float* x = workspace.transformer.x.template mutable_data_ptr<float>();
    for (int64_t s = 0; s < positions_; ++s, x += width) {
      AddTo(x, width, token_table_.const_data_ptr<float>() + tokens[s] * width,
            dynamics_positions_.const_data_ptr<float>() + s * width);
      if (action == nullptr) continue;
      AddTo(x, width, x, action);
      if (!previous_table_.defined()) continue;
      AddTo(x, width, x, previous_table_.const_data_ptr<float>() + workspace.previous[s] * width);
    }
  }

  // Unmasks all tokens of the next frame in workspace.tokens, pass by pass. take(position, logits
  // without bias, the largest logit) returns a token. Returns the surprise of the frame.
  template <typename TakeToken>
  float Unmask(const Loops& loops, Workspace& workspace, const GenieState& state, int64_t row,
               const float* action, const float* order, const TakeToken& take) const {
    const int64_t time = state.time.const_data_ptr<int64_t>()[row];
    const int64_t stride = to_logits_.padded_outputs();
    const KvCacheView<Element> cache =
        CacheView(dynamics_, state.kv_cache, row, time, workspace.dynamics_angles, false);
    std::fill(workspace.tokens.begin(), workspace.tokens.end(),
              to_logits_.outputs());  // the mask token
    workspace.hidden.assign(workspace.transformer.places.begin(),
                            workspace.transformer.places.end());
    workspace.unmasked = workspace.hidden;  // the first pass reuses no projections
    float surprise = 0;
    for (const int64_t left : schedule_) {
      const auto count = static_cast<int64_t>(workspace.hidden.size());
      if (left == count) continue;  // more passes than tokens
      Embed(workspace, workspace.tokens.data(), action);
      dynamics_.Run(loops, workspace.transformer, &cache, workspace.hidden, workspace.unmasked);
      float* logits = workspace.outputs.template mutable_data_ptr<float>();
      workspace.described.resize(count);
      loops.ForEachRange(
          PaddedPositions(count), kPositionGroup, [&](int64_t first, int64_t size, auto&) {
            to_logits_.Write(
                size,
                BitsOfTensor<Element>(workspace.transformer.input) + first * to_logits_.stride(),
                logits + first * stride);
            for (int64_t i = first; i < std::min(first + size, count); ++i) {
              workspace.described[i] =
                  kernels_.describe(to_logits_.outputs(), logits + i * stride, to_logits_.bias());
            }
          });
      workspace.ranked.clear();
      for (int64_t i = 0; i < count; ++i) {
        const Categorical& described = workspace.described[i];
        const float rank =
            order != nullptr ? order[workspace.hidden[i]] : described.top - described.log_sum;
        workspace.ranked.emplace_back(-rank, static_cast<int32_t>(i));
      }
      const auto unmasked = workspace.ranked.begin() + (count - left);
      std::nth_element(workspace.ranked.begin(), unmasked, workspace.ranked.end());
      // The order of position makes the sum independent of how they were sorted.
      std::sort(workspace.ranked.begin(), unmasked,
                [](const auto& a, const auto& b) { return a.second < b.second; });
      workspace.unmasked.clear();
      for (auto ranked = workspace.ranked.begin(); ranked != unmasked; ++ranked) {
        const int64_t i = ranked->second;
        const int32_t position = workspace.hidden[i];
        const float* products = logits + i * stride;
        const int64_t token = take(position, products, workspace.described[i].top);
        surprise += workspace.described[i].log_sum - (products[token] + to_logits_.bias()[token]);
        workspace.tokens[position] = token;
        workspace.unmasked.push_back(position);
      }
      std::erase_if(workspace.hidden, [&](int32_t position) {
        return workspace.tokens[position] != to_logits_.outputs();
      });
    }
    return surprise / static_cast<float>(positions_);
  }

  // Appends the row's tokens to the dynamics' KV cache, and writes their features. changed: see
  // TransformerCpu::Run.
  void Commit(const Loops& loops, Workspace& workspace, const GenieState& state, int64_t row,
              const float* action, std::span<const int32_t> changed) const {
    int64_t& time = state.time.mutable_data_ptr<int64_t>()[row];
    const KvCacheView<Element> cache =
        CacheView(dynamics_, state.kv_cache, row, time, workspace.dynamics_angles, true);
    Embed(workspace, Tokens(state, row), action);
    dynamics_.Run(loops, workspace.transformer, &cache, {}, changed);
    ++time;
    WriteFeatures(workspace, state, row);
  }

  // Of the frame that was committed.
  void WriteFeatures(const Workspace& workspace, const GenieState& state, int64_t row) const {
    const int64_t width = dynamics_.width(), areas = feature_areas_.size(0);
    const auto* input = workspace.transformer.input.template const_data_ptr<Element>();
    const float* weight = feature_areas_.const_data_ptr<float>();
    float* out = state.features.mutable_data_ptr<float>() + row * areas * width;
    std::fill_n(out, areas * width, 0.0f);
    for (int64_t area = 0; area < areas; ++area, out += width) {
      for (int64_t s = 0; s < positions_; ++s) {
        const float share = weight[area * positions_ + s];
        if (share == 0) continue;
        for (int64_t i = 0; i < width; ++i) {
          out[i] += share * static_cast<float>(input[s * width + i]);
        }
      }
    }
  }

  ClipSizes clip_;
  Patches patches_;
  int64_t positions_;
  UnmaskOrder order_;
  std::vector<int64_t> schedule_;  // masked tokens after each pass
  TransformerCpu<Element> encoder_, decoder_, dynamics_;
  LinearCpu<Element> embed_, to_code_, to_pixels_, to_logits_;
  LinearCpu<float> nearest_;  // the codes, each of length 1
  at::Tensor encoder_positions_, decoder_positions_, dynamics_positions_;  // [S, width]
  at::Tensor decoder_table_;   // [codes, width]: the decoder's input for each code
  at::Tensor token_table_;     // [codes + 1, width]: the dynamics' embedding of each token
  at::Tensor previous_table_;  // [codes, width]: of each token of the frame before; or undefined
  at::Tensor action_table_;    // [actions, width]: the dynamics' embedding of each action
  at::Tensor feature_areas_;   // [areas, S]
  TransformerKernels<Bits> kernels_;
  mutable ScratchPool<std::unique_ptr<Workspace>> workspaces_;
};

}  // namespace

std::unique_ptr<const FrozenGenie> MakeGenieCpu(const GenieWeights& weights, at::ScalarType dtype) {
  if (dtype == at::kBFloat16) return std::make_unique<GenieCpu<at::BFloat16>>(weights);
  return std::make_unique<GenieCpu<float>>(weights);
}

}  // namespace genie_env
