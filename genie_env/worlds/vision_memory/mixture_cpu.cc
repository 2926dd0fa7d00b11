#include "genie_env/worlds/vision_memory/mixture_cpu.h"

#include <ATen/ops/empty.h>

#include <algorithm>

#include "genie_env/worlds/vision_memory/joint_mixture_kernels.h"
#include "genie_env/worlds/vision_memory/panel_tasks.h"

namespace genie_env {
namespace {

// [outputs, hidden], made even: what is packed.
at::Tensor OutputWeight(const MemoryWeights& weights) {
  const int64_t hidden = weights.sizes().hidden;
  return PadTo(weights.output_weight, 1, hidden + hidden % 2);
}

// parameter: [parts x latents x components, S], with a dimension's components side by side, to
// [panels, components, parts x 16, S].
at::Tensor InPanels(const at::Tensor& parameter, int64_t parts, const MemorySizes& sizes) {
  const int64_t panels = Panels(sizes.latents);
  return PadTo(parameter.unflatten(0, {parts, sizes.latents, sizes.components}), 1, panels * kPanel)
      .unflatten(1, {panels, kPanel})
      .permute({1, 3, 0, 2, 4})
      .flatten(2, 3);
}

/// A panel is a mixture by itself: one task multiplies, samples and scores.
template <typename Element>
class IndependentMixtureCpu final : public MixtureCpu<Element> {
 public:
  explicit IndependentMixtureCpu(const MemoryWeights& weights) : MixtureCpu<Element>(weights) {
    const auto packed = [&](const at::Tensor& parameter) {
      return InPanels(parameter.narrow(0, 0, sizes_.output() - 1), 3, sizes_);
    };
    weight_ = PackedPanels<Element>(packed(OutputWeight(weights)).flatten(0, 1));
    bias_ = packed(weights.output_bias.unsqueeze(1)).contiguous();
  }

  MixtureScratch MakeScratch(int64_t padded_rows) const override {
    return {.parts = at::empty({padded_rows, Panels(sizes_.latents)}, at::kFloat), .component = {}};
  }

  void Predict(const MixtureStep& step) const override {
    const auto hidden = step.hidden.const_data_ptr<Element>();
    const int64_t latents = sizes_.latents, components = sizes_.components;
    const int64_t panels = Panels(latents), columns = components * kColumns;
    const int64_t stride = step.hidden.size(1);
    ForEachTask(panels, step.state.z.size(0), kIsBf16<Element>, columns,
                [&](int64_t panel, int64_t first, int64_t rows, float* products) {
                  for (int64_t k = 0; k < components; ++k) {
                    weight_.Multiply(panel * components + k, ProductRows(rows),
                                     hidden + first * stride, stride, products + k * kColumns,
                                     columns);
                  }
                  const int64_t dimension = panel * kPanel, at = first * latents + dimension;
                  MixtureBlock block{.rows = rows,
                                     .dimensions = std::min(kPanel, latents - dimension),
                                     .components = components,
                                     .products = products,
                                     .bias = bias_.const_data_ptr<float>() + panel * columns,
                                     .temperature = nullptr,
                                     .stride = latents,
                                     .uniform = nullptr,
                                     .normal = nullptr,
                                     .z = step.state.z.mutable_data_ptr<float>() + at,
                                     .z_out = PartOf(step.observation_out.z, first, dimension),
                                     .surprise_stride = panels,
                                     .surprise = step.scratch.parts.mutable_data_ptr<float>() +
                                                 first * panels + panel};
                  if (step.draws != nullptr) {
                    block.temperature = step.draws->temperature.const_data_ptr<float>() + first;
                    block.uniform = step.draws->uniform.const_data_ptr<float>() + at;
                    block.normal = step.draws->normal.const_data_ptr<float>() + at;
                    kernels_.sample(block);
                  } else {
                    kernels_.score(block);
                  }
                  if (panel == 0) this->Terminate(step, first, rows);
                });
  }

  void Surprise(const MixtureScratch& scratch, const at::Tensor& surprise) const override {
    const int64_t panels = Panels(sizes_.latents);
    const float* parts = scratch.parts.const_data_ptr<float>();
    float* out = surprise.mutable_data_ptr<float>();
    for (int64_t row = 0; row < surprise.size(0); ++row, parts += panels) {
      float sum = 0;
      for (int64_t panel = 0; panel < panels; ++panel) sum += parts[panel];
      out[row] = sum / static_cast<float>(sizes_.latents);
    }
  }

 private:
  using MixtureCpu<Element>::sizes_, MixtureCpu<Element>::kernels_;
  static constexpr int64_t kColumns = 3 * kPanel;  // of one component

  PackedPanels<Element> weight_;  // [panels x components, 48, hidden]
  at::Tensor bias_;               // [panels, components, 3, 16]
};

/// A row's component is chosen before its panels are sampled, and their scores are put together
/// afterwards. parts, [rows, 1 + panels, components]: log weights, then each panel's log densities.
template <typename Element>
class JointMixtureCpu final : public MixtureCpu<Element> {
 public:
  explicit JointMixtureCpu(const MemoryWeights& weights)
      : MixtureCpu<Element>(weights),
        choices_(Panels(sizes_.components) * kPanel),
        parts_((1 + Panels(sizes_.latents)) * sizes_.components),
        joint_(SupportedJointMixtureKernels().back()) {
    const int64_t components = sizes_.components;
    const auto packed = [&](const at::Tensor& parameter) {
      return InPanels(parameter.narrow(0, components, sizes_.output() - 1 - components), 2, sizes_);
    };
    const at::Tensor weight = OutputWeight(weights);
    choice_weight_ = PackedPanels<Element>(
        PadTo(weight.narrow(0, 0, components), 0, choices_).unsqueeze(0).contiguous());
    choice_bias_ = weights.output_bias.narrow(0, 0, components).contiguous();
    weight_ = PackedPanels<Element>(packed(weight).flatten(1, 2));
    bias_ = packed(weights.output_bias.unsqueeze(1)).contiguous();
  }

  MixtureScratch MakeScratch(int64_t padded_rows) const override {
    return {.parts = at::empty({padded_rows, parts_}, at::kFloat),
            .component = at::empty({padded_rows}, at::kInt)};
  }

  void Predict(const MixtureStep& step) const override {
    Choose(step);
    const auto hidden = step.hidden.const_data_ptr<Element>();
    const int64_t latents = sizes_.latents, components = sizes_.components;
    const int64_t columns = weight_.columns(), stride = step.hidden.size(1);
    ForEachTask(Panels(latents), step.state.z.size(0), kIsBf16<Element>, columns,
                [&](int64_t panel, int64_t first, int64_t rows, float* products) {
                  weight_.Multiply(panel, ProductRows(rows), hidden + first * stride, stride,
                                   products, columns);
                  const int64_t dimension = panel * kPanel, at = first * latents + dimension;
                  JointMixtureBlock block{
                      .rows = rows,
                      .dimensions = std::min(kPanel, latents - dimension),
                      .components = components,
                      .products = products,
                      .bias = bias_.const_data_ptr<float>() + panel * columns,
                      .component = nullptr,
                      .temperature = nullptr,
                      .stride = latents,
                      .normal = nullptr,
                      .z = step.state.z.mutable_data_ptr<float>() + at,
                      .z_out = PartOf(step.observation_out.z, first, dimension),
                      .part_stride = parts_,
                      .parts = Part(step.scratch, first) + (1 + panel) * components};
                  if (step.draws != nullptr) {
                    block.component = step.scratch.component.const_data_ptr<int32_t>() + first;
                    block.temperature = step.draws->temperature.const_data_ptr<float>() + first;
                    block.normal = step.draws->normal.const_data_ptr<float>() + at;
                    joint_.sample(block);
                  } else {
                    joint_.score(block);
                  }
                });
  }

  void Surprise(const MixtureScratch& scratch, const at::Tensor& surprise) const override {
    joint_.surprise(surprise.size(0), parts_ / sizes_.components, sizes_.components, sizes_.latents,
                    scratch.parts.const_data_ptr<float>(), surprise.mutable_data_ptr<float>());
  }

 private:
  using MixtureCpu<Element>::sizes_;

  float* Part(const MixtureScratch& scratch, int64_t row) const {
    return scratch.parts.mutable_data_ptr<float>() + row * parts_;
  }

  // Writes log weights, components and termination logits.
  void Choose(const MixtureStep& step) const {
    const auto hidden = step.hidden.const_data_ptr<Element>();
    const int64_t stride = step.hidden.size(1);
    ForEachTask(1, step.state.z.size(0), kIsBf16<Element>, choices_,
                [&](int64_t panel, int64_t first, int64_t rows, float* products) {
                  choice_weight_.Multiply(panel, ProductRows(rows), hidden + first * stride, stride,
                                          products, choices_);
                  ChoiceBlock block{.rows = rows,
                                    .components = sizes_.components,
                                    .stride = choices_,
                                    .products = products,
                                    .bias = choice_bias_.const_data_ptr<float>(),
                                    .part_stride = parts_,
                                    .log_weights = Part(step.scratch, first),
                                    .temperature = nullptr,
                                    .uniform = nullptr,
                                    .component = nullptr};
                  if (step.draws != nullptr) {
                    block.temperature = step.draws->temperature.const_data_ptr<float>() + first;
                    block.uniform = step.draws->uniform.const_data_ptr<float>() + first;
                    block.component = step.scratch.component.mutable_data_ptr<int32_t>() + first;
                  }
                  joint_.choose(block);
                  this->Terminate(step, first, rows);
                });
  }

  int64_t choices_;  // components, made whole panels
  int64_t parts_;    // (1 + panels) x components
  JointMixtureKernels joint_;
  PackedPanels<Element> choice_weight_;  // [1, choices, hidden]
  at::Tensor choice_bias_;               // [components]
  PackedPanels<Element> weight_;         // [panels, components x 32, hidden]
  at::Tensor bias_;                      // [panels, components, 2, 16]
};

}  // namespace

template <typename Element>
MixtureCpu<Element>::MixtureCpu(const MemoryWeights& weights)
    : sizes_(weights.sizes()),
      kernels_(SupportedMemoryKernels().back()),
      termination_weight_(weights.output_weight[sizes_.output() - 1].contiguous()),
      termination_bias_(weights.output_bias[sizes_.output() - 1].template item<float>()) {}

template <typename Element>
void MixtureCpu<Element>::Terminate(const MixtureStep& step, int64_t first, int64_t rows) const {
  kernels_.dot(rows, sizes_.hidden, step.state.h.const_data_ptr<float>() + first * sizes_.hidden,
               termination_weight_.const_data_ptr<float>(), termination_bias_,
               step.termination_logit.mutable_data_ptr<float>() + first);
}

template <typename Element>
std::unique_ptr<const MixtureCpu<Element>> MakeMixtureCpu(const MemoryWeights& weights) {
  if (weights.mixture == MixtureKind::kJoint) {
    return std::make_unique<JointMixtureCpu<Element>>(weights);
  }
  return std::make_unique<IndependentMixtureCpu<Element>>(weights);
}

template std::unique_ptr<const MixtureCpu<float>> MakeMixtureCpu(const MemoryWeights&);
template std::unique_ptr<const MixtureCpu<at::BFloat16>> MakeMixtureCpu(const MemoryWeights&);

}  // namespace genie_env
