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
#include "genie_env/worlds/genie/frozen_genie.h"
#include "genie_env/worlds/genie/transformer_weights.h"
#include "genie_env/worlds/genie/unmask.h"

namespace genie_env {
namespace {

constexpr int64_t kBegunAtOnce = 256;

/// Null where undefined.
template <typename Number>
const Number* DataOf(const at::Tensor& tensor) {
  return tensor.defined() ? tensor.const_data_ptr<Number>() : nullptr;
}

/// A linear map in the type of the products.
struct Linear {
  Linear(const LinearWeights& w, at::Device device, at::ScalarType dtype)
      : weight(w.weight.to(device, dtype)), bias(w.bias.to(device, dtype)) {}

  at::Tensor operator()(const at::Tensor& x) const {
    return at::linear(x.to(weight.scalar_type()), weight, bias);
  }

  at::Tensor weight, bias;
};

/// When a frame of every row happens, and which past frames it sees.
struct Moment {
  at::Tensor ring;       ///< keys, turned, and values, as GenieState says
  at::Tensor rotations;  ///< complex64 [N, head / 2]
  at::Tensor visible;    ///< bool [N, 1, 1, slots + 1]: which of the ring's, and this frame
  at::Tensor slot;  ///< int64 [N, 1, 1, 1, 1]: where the ring takes this frame in; or undefined
};

/// models/layers/st_transformer.h for one frame of every row, whose past is in a ring.
class Transformer {
 public:
  Transformer(const TransformerWeights& weights, at::Device device, at::ScalarType dtype)
      : sizes_(weights.sizes), dtype_(dtype), norm_gain_(weights.norm_gain.to(device)) {
    for (const BlockWeights& block : weights.blocks) blocks_.emplace_back(block, device, dtype);
  }

  /// x: float32 [N, S, width], to the same. moment: null where timeless.
  at::Tensor Run(at::Tensor x, const Moment* moment) const {
    if (x.size(0) == 0) return x;
    for (size_t i = 0; i < blocks_.size(); ++i) {
      const Block& block = blocks_[i];
      x = x + OverSpace(block.space, x);
      if (moment != nullptr) {
        x = x + OverTime(block.time.front(), x, *moment, static_cast<int64_t>(i));
      }
      x = x + block.narrow(at::gelu(block.widen(Normalised(x, block.norm_gain)), "tanh"));
    }
    return Normalised(x, norm_gain_);
  }

  /// The next frame of rows whose past has `time` frames. keep: the ring takes it in.
  Moment At(const at::Tensor& time, const at::Tensor& ring, bool keep) const {
    const int64_t rows = time.size(0), slots = ring.size(4);
    const at::Tensor past = at::arange(slots, time.options()) < time.unsqueeze(1);
    const at::Tensor visible = at::cat({past, at::ones({rows, 1}, past.options())}, 1);
    return {
        .ring = ring,
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
    Linear qkv, output;
  };
  struct Block {
    Block(const BlockWeights& w, at::Device device, at::ScalarType dtype)
        : space(w.space, device, dtype),
          norm_gain(w.norm_gain.to(device)),
          widen(w.widen, device, dtype),
          narrow(w.narrow, device, dtype) {
      if (w.time.norm_gain.defined()) time.emplace_back(w.time, device, dtype);
    }
    Attention space;
    std::vector<Attention> time;  // one, or none where timeless
    at::Tensor norm_gain;
    Linear widen, narrow;
  };
  struct Heads {
    at::Tensor query, key;  // float32 [N, S, heads, head]
    at::Tensor value;       // [N, S, heads, head]
  };

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

  at::Tensor OverTime(const Attention& attention, const at::Tensor& x, const Moment& moment,
                      int64_t block) const {
    const Heads h = Project(attention, x);
    const at::Tensor query = Rotate(h.query, moment.rotations).to(dtype_);
    const at::Tensor key = Rotate(h.key, moment.rotations).to(dtype_);
    const at::Tensor ring = moment.ring.select(1, block);  // [N, 2, S, slots, width]
    // The heads of all positions side by side: [N, S * heads, slots + 1, head].
    const auto with_past = [&](int64_t part, const at::Tensor& own) {
      const at::Tensor past = ring.select(1, part).unflatten(-1, {sizes_.heads, sizes_.head()});
      return at::cat({past.transpose(2, 3), own.unsqueeze(3)}, 3).flatten(1, 2);
    };
    const at::Tensor mixed = Attend(query.flatten(1, 2).unsqueeze(2), with_past(0, key),
                                    with_past(1, h.value), moment.visible);
    if (moment.slot.defined()) {  // in place of the frame that has left the window
      const at::Tensor own = at::stack({key, h.value}, 1).flatten(-2).unsqueeze(3);
      ring.scatter_(3, moment.slot.expand_as(own), own);
    }
    return attention.output(mixed.reshape(x.sizes()));
  }

  BlockSizes sizes_;
  at::ScalarType dtype_;
  std::vector<Block> blocks_;
  at::Tensor norm_gain_;
};

/// What packed_genie.cc does row by row, for all rows at once.
class Plain final : public FrozenGenie {
 public:
  Plain(const GenieWeights& w, at::Device device, at::ScalarType dtype)
      : device_(device),
        clip_(w.tokenizer_sizes.clip),
        codes_(w.tokenizer_sizes.codes),
        hidden_after_(HiddenAfterPasses(clip_.positions(), w.dynamics_sizes.passes)),
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
        decoder_table_(Linear(LinearOf(w.tokenizer, "from_code"), device, at::kFloat)(directions_)),
        token_table_(w.dynamics.at("embedding").to(device)),
        action_table_(Linear(LinearOf(w.dynamics, "from_action"), device,
                             at::kFloat)(w.action_codes.to(device))) {}

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
    const at::Tensor led = action_table_.index_select(0, actions);
    const auto [tokens, surprise] = Unmask(state, led, draws, {});
    state.tokens.copy_(tokens);
    state.eyes_time.zero_();
    Commit(state, led);
    return surprise;
  }

  at::Tensor Follow(const GenieState& state, const at::Tensor& actions, const at::Tensor& frames,
                    const at::Tensor& order) const override {
    const at::Tensor led = action_table_.index_select(0, actions);
    Encode(state, frames);
    const FrameDraws draws{.uniform = {}, .order = order, .temperature = {}};
    at::Tensor surprise = Unmask(state, led, draws, state.tokens).surprise;
    Commit(state, led);
    return surprise;
  }

  at::Tensor Decode(const at::Tensor& tokens) const override {
    const at::Tensor x = LookUp(decoder_table_, tokens) + decoder_positions_;
    const at::Tensor patches = to_pixels_(decoder_.Run(x, nullptr)).to(at::kFloat);
    return ToBytes(FromPatches(patches.unsqueeze(1), clip_).squeeze(1));
  }

 private:
  /// A state like `state`, of so many rows that have seen nothing.
  static GenieState Blank(const GenieState& state, int64_t rows) {
    const auto blank = [&](const at::Tensor& like) {
      std::vector<int64_t> shape = like.sizes().vec();
      shape[0] = rows;
      return at::zeros(shape, like.options());
    };
    return {.tokens = blank(state.tokens),
            .time = blank(state.time),
            .past = blank(state.past),
            .eyes_time = blank(state.eyes_time),
            .eyes_past = blank(state.eyes_past)};
  }

  /// Begins anew beside the state, some rows at once: all of them would take its memory once more.
  /// look(begun, from, to) shows rows from .. to - 1 of those their first frames.
  template <typename Look>
  void BeginRows(const GenieState& state, const at::Tensor& rows, const Look& look) const {
    for (int64_t from = 0; from < rows.size(0); from += kBegunAtOnce) {
      const int64_t to = std::min(from + kBegunAtOnce, rows.size(0));
      const GenieState begun = Blank(state, to - from);
      look(begun, from, to);
      Commit(begun, {});
      Put(begun, rows.slice(0, from, to), state);
    }
  }

  static void Put(const GenieState& begun, const at::Tensor& rows, const GenieState& state) {
    const at::Tensor index = rows.to(state.tokens.device());
    for (const auto part : {&GenieState::tokens, &GenieState::time, &GenieState::past,
                            &GenieState::eyes_time, &GenieState::eyes_past}) {
      (state.*part).index_copy_(0, index, begun.*part);
    }
  }

  /// table: [codes, width]; tokens: [N, S]. [N, S, width].
  static at::Tensor LookUp(const at::Tensor& table, const at::Tensor& tokens) {
    return table.index_select(0, tokens.flatten())
        .view({tokens.size(0), tokens.size(1), table.size(1)});
  }

  /// The given frames' tokens become the rows'; the encoder's past advances.
  void Encode(const GenieState& state, const at::Tensor& frames) const {
    const at::Tensor patches = ToPatches(FromBytes(frames).unsqueeze(1), clip_).squeeze(1);
    const Moment moment = encoder_.At(state.eyes_time, state.eyes_past, true);
    const at::Tensor latents =
        to_code_(encoder_.Run(embed_(patches) + encoder_positions_, &moment));
    // In float32: in bfloat16 neighbouring codes would look alike.
    state.tokens.copy_(at::matmul(latents.to(at::kFloat), directions_.t()).argmax(-1));
    state.eyes_time.add_(1);
  }

  /// What the dynamics see of a frame that is partly hidden. led: [N, width], what its action says;
  /// undefined at a row's first.
  at::Tensor Embed(const at::Tensor& tokens, const at::Tensor& led) const {
    const at::Tensor x = LookUp(token_table_, tokens) + dynamics_positions_;
    return led.defined() ? x + led.unsqueeze(1) : x;
  }

  struct Unmasked {
    at::Tensor tokens, surprise;
  };

  /// The tokens of the next frames, settled pass by pass: on those given, or where undefined on
  /// draws.
  Unmasked Unmask(const GenieState& state, const at::Tensor& led, const FrameDraws& draws,
                  const at::Tensor& given) const {
    const int64_t rows = led.size(0), positions = clip_.positions();
    const at::Tensor tokens = at::full({rows, positions}, codes_, state.tokens.options());
    const at::Tensor surprise = at::zeros({rows}, led.options());
    const Moment moment = dynamics_.At(state.time, state.past, false);
    int64_t hidden = positions;
    for (const int64_t left : hidden_after_) {
      if (left == hidden) continue;  // more passes than tokens
      const at::Tensor logits =
          to_logits_(dynamics_.Run(Embed(tokens, led), &moment)).to(at::kFloat);
      Settle({.rows = rows,
              .positions = positions,
              .codes = codes_,
              .settled = hidden - left,
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

  void Settle(const MaskGitPass& pass) const {
    if (device_.is_cpu()) {
      UnmaskOnCpu(pass);
      return;
    }
    const c10::DeviceGuard on_device(device_);
    const c10::impl::VirtualGuardImpl gpu(device_.type());
    UnmaskOnGpu(pass, gpu.getStreamNativeHandle(gpu.getStream(device_)));
  }

  /// The rows' tokens become the last frame of their past.
  void Commit(const GenieState& state, const at::Tensor& led) const {
    const Moment moment = dynamics_.At(state.time, state.past, true);
    dynamics_.Run(Embed(state.tokens, led), &moment);
    state.time.add_(1);
  }

  at::Device device_;
  ClipSizes clip_;
  int64_t codes_;
  std::vector<int64_t> hidden_after_;  // each pass
  Transformer encoder_, decoder_, dynamics_;
  Linear embed_, to_code_, to_pixels_, to_logits_;
  at::Tensor directions_;                                                  // [codes, dimensions]
  at::Tensor encoder_positions_, decoder_positions_, dynamics_positions_;  // [S, width]
  at::Tensor decoder_table_;  // [codes, width]: what the decoder sees of each code
  at::Tensor token_table_;    // [codes + 1, width], and the dynamics
  at::Tensor action_table_;   // [actions, width]
};

}  // namespace

std::unique_ptr<const FrozenGenie> PlainGenie(const GenieWeights& weights, at::Device device,
                                              at::ScalarType dtype) {
  return std::make_unique<Plain>(weights, device, dtype);
}

}  // namespace genie_env
