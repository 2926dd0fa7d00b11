#include "genie_env/models/trainer.h"

#include <pybind11/stl.h>
#include <torch/csrc/utils/pybind.h>

#include <stdexcept>
#include <string>

#include "bindings/calls.h"
#include "genie_env/models/vision_memory/memory.h"
#include "genie_env/models/vision_memory/vision.h"
#include "genie_env/tensor/frozen_scope.h"

namespace genie_env {
namespace py = pybind11;
namespace {

MixtureKind MixtureNamed(const std::string& name) {
  if (name == kIndependentMixture) return MixtureKind::kIndependent;
  if (name == kJointMixture) return MixtureKind::kJoint;
  throw std::invalid_argument("mixture is \"" + name + "\", expected \"" + kIndependentMixture +
                              "\" or \"" + kJointMixture + "\"");
}

}  // namespace

void InitTrainer(py::module_& m) {
  py::class_<Model, std::shared_ptr<Model>>(
      m, "Model",
      "A network with the loss that trains it. A call while another thread trains it raises Busy.");

  py::class_<Vision, Model, std::shared_ptr<Vision>>(
      m, "Vision", "V of World Models: a convolutional variational autoencoder.")
      .def(py::init([](int64_t latents, int64_t height, int64_t width, uint64_t seed, double beta,
                       double emphasis) {
             return std::make_shared<Vision>(VisionSizes{latents, height, width}, seed, beta,
                                             emphasis);
           }),
           py::kw_only(), py::arg("latents") = 64, py::arg("height") = 64, py::arg("width") = 64,
           py::arg("seed") = 0, py::arg("beta") = 1.0, py::arg("emphasis") = 0.0)
      .def_property_readonly("latents", [](const Vision& vision) { return vision.sizes().latents; })
      .def_property_readonly("height", [](const Vision& vision) { return vision.sizes().height; })
      .def_property_readonly("width", [](const Vision& vision) { return vision.sizes().width; })
      .def(
          "encode",
          [](const Vision& vision, const at::Tensor& frames) {
            return Reading(vision, "encode", [&] {
              const FrozenScope scope;
              LatentGaussian gaussian = vision.Encode(frames);
              return std::pair(gaussian.mu, gaussian.logvar);
            });
          },
          py::arg("frames"),
          "uint8 [N, height, width, 3] -> (mu, logvar), float32 [N, latents] each.")
      .def(
          "decode",
          [](const Vision& vision, const at::Tensor& latents) {
            return Reading(vision, "decode", [&] {
              const FrozenScope scope;
              return ToFrames(vision.Decode(latents));
            });
          },
          py::arg("latents"), "float32 [N, latents] -> frames, uint8 [N, height, width, 3].");

  py::class_<Memory, Model, std::shared_ptr<Memory>>(
      m, "Memory", "M of World Models: an LSTM with a mixture density output.")
      .def(
          py::init([](int64_t latents, int64_t hidden, int64_t components,
                      const std::string& mixture, int64_t actions,
                      const std::optional<std::pair<double, double>>& rewards,
                      bool judges_termination, uint64_t seed) {
            std::optional<RewardRange> range;
            if (rewards) range = {rewards->first, rewards->second};
            const MemorySizes sizes{latents, hidden, components, actions, MixtureNamed(mixture)};
            return std::make_shared<Memory>(sizes, seed, range, judges_termination);
          }),
          py::kw_only(), py::arg("latents") = 64, py::arg("hidden") = 512,
          py::arg("components") = 5, py::arg("mixture") = kIndependentMixture,
          py::arg("actions") = 1, py::arg("rewards") = py::none(),
          py::arg("judges_termination") = false, py::arg("seed") = 0,
          "mixture: \"independent\", one of `components` Gaussians a latent dimension, or "
          "\"joint\", one over whole latent vectors. actions: numbers that M reads of an action. "
          "rewards: the smallest and the largest, "
          "where "
          "M learns them. judges_termination: whether a termination depends on the next frame too.")
      .def_property_readonly(
          "reward_bins",
          [](const Memory& memory) {
            const at::Tensor& bins = memory.reward_bins();
            return bins.defined() ? std::optional(bins.clone()) : std::nullopt;
          },
          "The rewards that its reward logits stand for, float32 [bins]; None where it learns "
          "none.")
      .def(
          "judge_windows",
          [](const Memory& memory, const TensorMap& batch, uint64_t noise_step) {
            return Reading(memory, "judge_windows", [&] {
              const FrozenScope scope;
              TrainingNoise noise(0, noise_step);
              Memory::Outcomes outcomes = memory.JudgeWindows(batch, noise);
              TensorMap found{{"termination_logits", outcomes.termination_logits},
                              {"judged", outcomes.judged},
                              {"followed", outcomes.followed}};
              if (outcomes.rewards.defined()) found.emplace("rewards", outcomes.rewards);
              return found;
            });
          },
          py::arg("batch"), py::arg("noise_step"),
          "What M says of a batch of windows, each [N, T]: \"termination_logits\" (float32; "
          "trained "
          "with a higher weight of terminations, so their probabilities are too high), valid where "
          "\"judged\" (bool), and, where M learns them, \"rewards\" (float32, expected), valid "
          "where \"followed\" (bool).")
      .def_property_readonly("latents", [](const Memory& m) { return m.sizes().latents; })
      .def_property_readonly("hidden", [](const Memory& m) { return m.sizes().hidden; })
      .def_property_readonly("components", [](const Memory& m) { return m.sizes().components; })
      .def_property_readonly(
          "mixture",
          [](const Memory& m) {
            return m.sizes().mixture == MixtureKind::kJoint ? kJointMixture : kIndependentMixture;
          })
      .def_property_readonly("actions", [](const Memory& m) { return m.sizes().actions; });

  py::class_<Trainer>(m, "Trainer",
                      "One network, its loss and its optimiser (Adam). The loop around it (data "
                      "order, schedule, progress, checkpoints) belongs to the caller. A call while "
                      "another thread is in one of the trainer or its network raises Busy.")
      .def(py::init([](std::shared_ptr<Model> model, double learning_rate, double gradient_clip,
                       bool bf16, uint64_t seed, const std::string& device) {
             const TrainerOptions options{learning_rate, gradient_clip, bf16, seed, device};
             if (!model) return std::make_unique<Trainer>(model, options);  // which refuses it
             const Exclusive::Call call = model->calls().Enter("Trainer");
             return std::make_unique<Trainer>(model, options);
           }),
           py::arg("model"), py::kw_only(),
           py::arg("learning_rate") = TrainerOptions{}.learning_rate,
           py::arg("gradient_clip") = TrainerOptions{}.gradient_clip,
           py::arg("bf16") = TrainerOptions{}.bf16, py::arg("seed") = TrainerOptions{}.seed,
           py::arg("device") = TrainerOptions{}.device)
      .def("backward", Alone("backward", &Trainer::Backward), py::arg("batch"),
           "Computes loss and gradients of one batch; returns the loss and its terms.\n\n"
           "Raises RuntimeError where the loss is not finite. Where it raises, there are no "
           "gradients.")
      .def("evaluate", Alone("evaluate", &Trainer::Evaluate), py::arg("batch"),
           py::arg("noise_step"),
           "Computes the same numbers without gradients; the noise is keyed by `noise_step` alone.")
      .def("update", Alone("update", &Trainer::Update),
           "Makes one optimiser step with the gradients of the last `backward`.\n\n"
           "Raises RuntimeError where it failed, where another update or load came after it (of\n"
           "any trainer of the network) or a backward of another trainer, and where a gradient\n"
           "is not finite; the weights are then as before.")
      .def("set_learning_rate", Alone("set_learning_rate", &Trainer::SetLearningRate),
           py::arg("learning_rate"))
      .def("gradients", Alone("gradients", &Trainer::Gradients),
           "The gradients by parameter name, not copied.")
      .def("weights", Alone("weights", &Trainer::Weights), "Copies of the parameters, by name.")
      .def("load_weights", Alone("load_weights", &Trainer::LoadWeights), py::arg("weights"))
      .def("state", Alone("state", &Trainer::State),
           "Copies of weights, optimiser moments, buffers and step: what resuming needs.")
      .def("load_state", Alone("load_state", &Trainer::LoadState), py::arg("state"))
      .def_property_readonly("step", Alone("step", &Trainer::step), "Updates made.")
      .def_property_readonly("model", &Trainer::model, py::return_value_policy::reference_internal);
}

}  // namespace genie_env
