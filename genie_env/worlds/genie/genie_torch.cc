#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "genie_env/models/layers/quantizer.h"
#include "genie_env/worlds/genie/features.h"
#include "genie_env/worlds/genie/frozen_genie.h"
#include "genie_env/worlds/genie/transformer_weights.h"
#include "genie_env/worlds/genie/unmask.h"

namespace genie_env {
namespace {

constexpr int64_t kBegunAtOnce = 256;

/// The data of a tensor; null where it is undefined.
template <typename Number>
const Number* DataOf(const at::Tensor& tensor) {
  return tensor.defined() ? tensor.const_data_ptr<Number>() : nullptr;
}

/// A linear map in the type of the products.
struct LinearTorch {
  LinearTorch(const LinearWeights& w, at::Device device, at::ScalarType dtype)
      : weight(w.weight.to(device, dtype)), bias(w.bias.to(device, dtype)) {}

  at::Tensor operator()(const at::Tensor& x) const {
    return at::linear(x.to(weight.scalar_type()), weight, bias);
  }

  at::Tensor weight, bias;
};

/// The time of a frame of every row, and the slots of the KV cache that are visible to it.
struct FrameTime {
  at::Tensor kv_cache;   ///< rotated keys, and values; see GenieState
  at::Tensor rotations;  ///< complex64 [N, head / 2]
  at::Tensor visible;    ///< bool [N, 1, 1, slots + 1]: the slots, then this frame
  at::Tensor slot;       ///< int64 [N, 1, 1, 1, 1]: the slot to write; undefined: none
};

/// The ST-transformer (models/layers/st_transformer.h) for one frame of every row, with a KV cache.
class TransformerTorch {
 public:
  TransformerTorch(const TransformerWeights& weights, at::Device device, at::ScalarType dtype)
      : sizes_(weights.sizes), dtype_(dtype), norm_gain_(weights.norm_gain.to(device)) {
    for (const BlockWeights& block : weights.blocks) blocks_.emplace_back(block, device, dtype);
  }

  /// x: float32 [N, S, width]; so is the result. frame_time: null without attention over time.
  at::Tensor Run(at::Tensor x, const FrameTime* frame_time) const {
    if (x.size(0) == 0) return x;
    for (size_t i = 0; i < blocks_.size(); ++i) x = After(i, x, frame_time);
    return Normalised(x, norm_gain_);
  }

  /// Ends when the keys and values of all blocks are in the cache. Returns what the last block made
  /// them of: float32 [N, S, width].
  at::Tensor Append(at::Tensor x, const FrameTime& frame_time) const {
    if (x.size(0) == 0) return x;
    const size_t last = blocks_.size() - 1;
    for (size_t i = 0; i < last; ++i) x = After(i, x, &frame_time);
    const Attention& time = blocks_[last].time.front();
    x = WithNeighbours(blocks_[last], x);
    x = x + OverSpace(blocks_[last].space, x);
    OverTime(time, x, frame_time, static_cast<int64_t>(last));
    return Normalised(x, time.norm_gain);
  }

  /// The next frame of rows whose history has `time` frames. keep: Run writes it to the cache.
  FrameTime At(const at::Tensor& time, const at::Tensor& kv_cache, bool keep) const {
    const int64_t rows = time.size(0), slots = kv_cache.size(4);
    const at::Tensor filled = at::arange(slots, time.options()) < time.unsqueeze(1);
    const at::Tensor visible = at::cat({filled, at::ones({rows, 1}, filled.options())}, 1);
    return {
        .kv_cache = kv_cache,
        .rotations = Rotations(time, sizes_.head()),
        .visible = visible.view({rows, 1, 1, slots + 1}),
        .slot = keep && slots > 0 ? time.remainder(slots).view({rows, 1, 1, 1, 1}) : at::Tensor()};
  }

 private:
  struct Attention {
    Attention(const AttentionWeights& w, at::Device device, at::ScalarType dtype)
        : norm_gain(w.norm_gain.to(device)),
          query_gain(w.query_gain.to(device)),
          qkv(w.qkv, device, dtype),
          output(w.output, device, dtype) {}
    at::Tensor norm_gain, query_gain;
    LinearTorch qkv, output;
  };
  struct Block {
    Block(const BlockWeights& w, at::Device device, at::ScalarType dtype)
        : space(w.space, device, dtype),
          norm_gain(w.norm_gain.to(device)),
          widen(w.widen, device, dtype),
          narrow(w.narrow, device, dtype) {
      if (w.time.norm_gain.defined()) time.emplace_back(w.time, device, dtype);
      if (w.neighbours.defined()) neighbours = w.neighbours.to(device);
    }
    at::Tensor neighbours;  // float32 [width, 1, 3, 3]; undefined without the convolution
    Attention space;
    std::vector<Attention> time;  // one, or none without attention over time
    at::Tensor norm_gain;
    LinearTorch widen, narrow;
  };
  struct Heads {
    at::Tensor query, key;  // float32 [N, S, heads, head]
    at::Tensor value;       // [N, S, heads, head]
  };

  at::Tensor After(size_t index, at::Tensor x, const FrameTime* frame_time) const {
    const Block& block = blocks_[index];
    x = WithNeighbours(block, x);
    x = x + OverSpace(block.space, x);
    if (frame_time != nullptr) {
      x = x + OverTime(block.time.front(), x, *frame_time, static_cast<int64_t>(index));
    }
    return x + block.narrow(at::gelu(block.widen(Normalised(x, block.norm_gain)), "tanh"));
  }

  at::Tensor WithNeighbours(const Block& block, const at::Tensor& x) const {
    return sizes_.columns == 0 ? x : x + ConvolveNeighbours(x, block.neighbours, sizes_.columns);
  }

  Heads Project(const Attention& attention, const at::Tensor& x) const {
    const at::Tensor parts = attention.qkv(Normalised(x, attention.norm_gain))
                                 .unflatten(-1, {3, sizes_.heads, sizes_.head()});
    return {.query = Normalised(parts.select(2, 0), attention.query_gain),
            .key = Normalised(parts.select(2, 1), {}),
            .value = parts.select(2, 2)};
  }

  at::Tensor OverSpace(const Attention& attention, const at::Tensor& x) const {
    const Heads h = Project(attention, x);
    const at::Tensor mixed = Attend(h.query.to(dtype_).transpose(1, 2),
                                    h.key.to(dtype_).transpose(1, 2), h.value.transpose(1, 2), {});
    return attention.output(mixed.transpose(1, 2).reshape(x.sizes()));
  }

  at::Tensor OverTime(const Attention& attention, const at::Tensor& x, const FrameTime& frame_time,
                      int64_t block) const {
    const Heads h = Project(attention, x);
    const at::Tensor query = Rotate(h.query, frame_time.rotations).to(dtype_);
    const at::Tensor key = Rotate(h.key, frame_time.rotations).to(dtype_);
    const at::Tensor kv_cache = frame_time.kv_cache.select(1, block);  // [N, 2, S, slots, width]
    // The heads of all positions side by side: [N, S * heads, slots + 1, head].
    const auto with_cache = [&](int64_t part, const at::Tensor& own) {
      const at::Tensor cached =
          kv_cache.select(1, part).unflatten(-1, {sizes_.heads, sizes_.head()});
      return at::cat({cached.transpose(2, 3), own.unsqueeze(3)}, 3).flatten(1, 2);
    };
    const at::Tensor mixed = Attend(query.flatten(1, 2).unsqueeze(2), with_cache(0, key),
                                    with_cache(1, h.value), frame_time.visible);
    if (frame_time.slot.defined()) {  // replaces the frame that has left the window
      const at::Tensor own = at::stack({key, h.value}, 1).flatten(-2).unsqueeze(3);
      kv_cache.scatter_(3, frame_time.slot.expand_as(own), own);
    }
    return attention.output(mixed.reshape(x.sizes()));
  }

  BlockSizes sizes_;
  at::ScalarType dtype_;
  std::vector<Block> blocks_;
  at::Tensor norm_gain_;
};

/// Computes what genie_cpu.cc computes row by row, for all rows at once.
class GenieTorch final : public FrozenGenie {
 public:
  GenieTorch(const GenieWeights& w, at::Device device, at::ScalarType dtype)
      : device_(device),
        clip_(w.tokenizer_sizes.clip),
        codes_(w.tokenizer_sizes.codes),
        schedule_(MaskSchedule(clip_.positions(), w.dynamics_sizes.passes)),
        encoder_(TransformerOf(w.tokenizer, "encoder", w.tokenizer_sizes.encoder_blocks,
                               w.tokenizer_sizes.block, false),
                 device, dtype),
        decoder_(TransformerOf(w.tokenizer, "decoder", w.tokenizer_sizes.decoder_blocks,
                               w.tokenizer_sizes.block, true),
                 device, dtype),
        dynamics_(TransformerOf(w.dynamics, "transformer", w.dynamics_sizes.blocks,
                                w.dynamics_sizes.block, false),
                  device, dtype),
        embed_(LinearOf(w.tokenizer, "embed"), device, dtype),
        to_code_(LinearOf(w.tokenizer, "to_code"), device, dtype),
        to_pixels_(LinearOf(w.tokenizer, "to_pixels"), device, dtype),
        to_logits_(LinearOf(w.dynamics, "to_logits"), device, dtype),
        directions_(UnitLength(w.tokenizer.at("quantizer.codebook")).to(device)),
        encoder_positions_(w.tokenizer.at("encoder_positions").to(device)),
        decoder_positions_(w.tokenizer.at("decoder_positions").to(device)),
        dynamics_positions_(w.dynamics.at("positions").to(device)),
        decoder_table_(
            LinearTorch(LinearOf(w.tokenizer, "from_code"), device, at::kFloat)(directions_)),
        token_table_(w.dynamics.at("embedding").to(device)),
        action_table_(LinearTorch(LinearOf(w.dynamics, "from_action"), device,
                                  at::kFloat)(w.action_codes.to(device))),
        feature_areas_(FeatureAreas(clip_).to(device)) {
    if (w.dynamics_sizes.block.columns > 0) {
      previous_table_ = w.dynamics.at("previous").to(device);
    }
  }

  void Begin(const GenieState& state, const at::Tensor& rows,
             const at::Tensor& tokens) const override {
    BeginRows(state, rows, [&](const GenieState& begun, int64_t from, int64_t to) {
      begun.tokens.copy_(tokens.slice(0, from, to));
    });
  }

  void BeginFrames(const GenieState& state, const at::Tensor& rows,
                   const at::Tensor& frames) const override {
    BeginRows(state, rows, [&](const GenieState& begun, int64_t from, int64_t to) {
      Encode(begun, frames.slice(0, from, to));
    });
  }

  at::Tensor Dream(const GenieState& state, const at::Tensor& actions,
                   const FrameDraws& draws) const override {
    const at::Tensor transition = Transition(state, actions);
    const auto [tokens, surprise] = Unmask(state, transition, draws, {});
    state.tokens.copy_(tokens);
    state.encoder_time.zero_();
    Commit(state, transition);
    return surprise;
  }

  at::Tensor Follow(const GenieState& state, const at::Tensor& actions, const at::Tensor& frames,
                    const at::Tensor& order) const override {
    const at::Tensor transition = Transition(state, actions);
    Encode(state, frames);
    const FrameDraws draws{.uniform = {}, .order = order, .temperature = {}};
    at::Tensor surprise = Unmask(state, transition, draws, state.tokens).surprise;
    Commit(state, transition);
    return surprise;
  }

  at::Tensor Decode(const at::Tensor& tokens, const at::Tensor& /*out*/) const override {
    const at::Tensor x = LookUp(decoder_table_, tokens) + decoder_positions_;
    const at::Tensor patches = to_pixels_(decoder_.Run(x, nullptr)).to(at::kFloat);
    return ToBytes(FromPatches(patches.unsqueeze(1), clip_).squeeze(1));
  }

 private:
  /// A state like `state` of `rows` rows without history.
  static GenieState Blank(const GenieState& state, int64_t rows) {
    const auto blank = [&](const at::Tensor& like) {
      std::vector<int64_t> shape = like.sizes().vec();
      shape[0] = rows;
      return at::zeros(shape, like.options());
    };
    return {.tokens = blank(state.tokens),
            .time = blank(state.time),
            .kv_cache = blank(state.kv_cache),
            .encoder_time = blank(state.encoder_time),
            .encoder_kv_cache = blank(state.encoder_kv_cache),
            .features = blank(state.features)};
  }

  /// Starts new histories in a separate state and copies it into `state`, kBegunAtOnce rows at a
  /// time to bound its memory. write_tokens(begun, from, to) writes the tokens of the first frames
  /// of rows from .. to - 1.
  template <typename WriteTokens>
  void BeginRows(const GenieState& state, const at::Tensor& rows,
                 const WriteTokens& write_tokens) const {
    for (int64_t from = 0; from < rows.size(0); from += kBegunAtOnce) {
      const int64_t to = std::min(from + kBegunAtOnce, rows.size(0));
      const GenieState begun = Blank(state, to - from);
      write_tokens(begun, from, to);
      Commit(begun, {});
      Put(begun, rows.slice(0, from, to), state);
    }
  }

  static void Put(const GenieState& begun, const at::Tensor& rows, const GenieState& state) {
    const at::Tensor index = rows.to(state.tokens.device());
    for (const auto part :
         {&GenieState::tokens, &GenieState::time, &GenieState::kv_cache, &GenieState::encoder_time,
          &GenieState::encoder_kv_cache, &GenieState::features}) {
      (state.*part).index_copy_(0, index, begun.*part);
    }
  }

  /// table: [codes, width]; tokens: [N, S]. [N, S, width].
  static at::Tensor LookUp(const at::Tensor& table, const at::Tensor& tokens) {
    return table.index_select(0, tokens.flatten())
        .view({tokens.size(0), tokens.size(1), table.size(1)});
  }

  /// Encodes `frames` into the rows' tokens and advances the tokenizer's KV cache.
  void Encode(const GenieState& state, const at::Tensor& frames) const {
    const at::Tensor patches = ToPatches(FromBytes(frames).unsqueeze(1), clip_).squeeze(1);
    const FrameTime frame_time = encoder_.At(state.encoder_time, state.encoder_kv_cache, true);
    const at::Tensor latents =
        to_code_(encoder_.Run(embed_(patches) + encoder_positions_, &frame_time));
    // bfloat16 cannot tell neighbouring codes apart.
    state.tokens.copy_(at::matmul(latents.to(at::kFloat), directions_.t()).argmax(-1));
    state.encoder_time.add_(1);
  }

  /// The embedding of what leads from the rows' frames to the next: [N, 1 or S, width].
  at::Tensor Transition(const GenieState& state, const at::Tensor& actions) const {
    at::Tensor embedding = action_table_.index_select(0, actions).unsqueeze(1);
    if (previous_table_.defined()) {
      // What is written to a state on a GPU is not checked, and must not harm.
      embedding = embedding + LookUp(previous_table_, state.tokens.clamp(0, codes_ - 1));
    }
    return embedding;
  }

  /// The dynamics' input for a partly masked frame. transition: undefined for a row's first frame.
  at::Tensor Embed(const at::Tensor& tokens, const at::Tensor& transition) const {
    const at::Tensor x = LookUp(token_table_, tokens) + dynamics_positions_;
    return transition.defined() ? x + transition : x;
  }

  struct Unmasked {
    at::Tensor tokens, surprise;
  };

  /// Unmasks the tokens of the next frames pass by pass. They come from `given`, or, where it is
  /// undefined, from draws.
  Unmasked Unmask(const GenieState& state, const at::Tensor& transition, const FrameDraws& draws,
                  const at::Tensor& given) const {
    const int64_t rows = transition.size(0), positions = clip_.positions();
    const at::Tensor tokens = at::full({rows, positions}, codes_, state.tokens.options());
    const at::Tensor surprise = at::zeros({rows}, transition.options());
    const FrameTime frame_time = dynamics_.At(state.time, state.kv_cache, false);
    int64_t hidden = positions;
    for (const int64_t left : schedule_) {
      if (left == hidden) continue;  // more passes than tokens
      const at::Tensor logits =
          to_logits_(dynamics_.Run(Embed(tokens, transition), &frame_time)).to(at::kFloat);
      RunPass({.rows = rows,
               .positions = positions,
               .codes = codes_,
               .count = hidden - left,
               .logits = DataOf<float>(logits),
               .order = DataOf<float>(draws.order),
               .given = DataOf<int64_t>(given),
               .uniform = DataOf<float>(draws.uniform),
               .temperature = DataOf<float>(draws.temperature),
               .tokens = tokens.mutable_data_ptr<int64_t>(),
               .surprise = surprise.mutable_data_ptr<float>()});
      hidden = left;
    }
    return {.tokens = tokens, .surprise = surprise / static_cast<double>(positions)};
  }

  void RunPass(const MaskGitPass& pass) const {
    if (device_.is_cpu()) {
      UnmaskOnCpu(pass);
      return;
    }
    const c10::DeviceGuard on_device(device_);
    const c10::impl::VirtualGuardImpl gpu(device_.type());
    UnmaskOnGpu(pass, gpu.getStreamNativeHandle(gpu.getStream(device_)));
  }

  /// Appends the rows' tokens to the dynamics' KV cache, and writes their features.
  void Commit(const GenieState& state, const at::Tensor& transition) const {
    const FrameTime frame_time = dynamics_.At(state.time, state.kv_cache, true);
    const at::Tensor input = dynamics_.Append(Embed(state.tokens, transition), frame_time);
    state.features.copy_(at::matmul(feature_areas_, input).flatten(1));
    state.time.add_(1);
  }

  at::Device device_;
  ClipSizes clip_;
  int64_t codes_;
  std::vector<int64_t> schedule_;  // masked tokens after each pass
  TransformerTorch encoder_, decoder_, dynamics_;
  LinearTorch embed_, to_code_, to_pixels_, to_logits_;
  at::Tensor directions_;                                                  // [codes, dimensions]
  at::Tensor encoder_positions_, decoder_positions_, dynamics_positions_;  // [S, width]
  at::Tensor decoder_table_;   // [codes, width]: the decoder's input for each code
  at::Tensor token_table_;     // [codes + 1, width]: the dynamics' embedding of each token
  at::Tensor previous_table_;  // [codes, width]: of each token of the frame before; or undefined
  at::Tensor action_table_;    // [actions, width]: the dynamics' embedding of each action
  at::Tensor feature_areas_;   // [areas, S]
};

}  // namespace

std::unique_ptr<const FrozenGenie> MakeGenieTorch(const GenieWeights& weights, at::Device device,
                                                  at::ScalarType dtype) {
  return std::make_unique<GenieTorch>(weights, device, dtype);
}

}  // namespace genie_env
