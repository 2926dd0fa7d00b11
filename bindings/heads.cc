#include "genie_env/models/genie/heads.h"

#include <pybind11/stl.h>
#include <torch/csrc/utils/pybind.h>

#include "bindings/calls.h"
#include "genie_env/tensor/frozen_scope.h"

namespace genie_env {
namespace py = pybind11;

void InitHeads(py::module_& m) {
  const HeadsSizes defaults;
  py::class_<Heads, Model, std::shared_ptr<Heads>>(m, "Heads", R"(
What latent actions bring in a world of Genie: reward and termination, judged on the features of its
frozen dynamics before and after an action.

`rewards`: the smallest and the largest, where they are learned; `termination`: whether terminations
are, and `judges_termination` whether by the next frame too.
)")
      .def(py::init([](int64_t features, int64_t actions,
                       const std::optional<std::pair<double, double>>& rewards, bool termination,
                       bool judges_termination, uint64_t seed) {
             std::optional<RewardRange> range;
             if (rewards) range = {rewards->first, rewards->second};
             return std::make_shared<Heads>(HeadsSizes{.features = features,
                                                       .actions = actions,
                                                       .reward = rewards.has_value(),
                                                       .termination = termination,
                                                       .judges_termination = judges_termination},
                                            range, seed);
           }),
           py::kw_only(), py::arg("features") = defaults.features,
           py::arg("actions") = defaults.actions, py::arg("rewards") = py::none(),
           py::arg("termination") = false, py::arg("judges_termination") = false,
           py::arg("seed") = 0)
      .def_property_readonly("features", [](const Heads& heads) { return heads.sizes().features; })
      .def_property_readonly("actions", [](const Heads& heads) { return heads.sizes().actions; })
      .def(
          "judge",
          [](const Heads& heads, const at::Tensor& before, const at::Tensor& actions,
             const at::Tensor& after) {
            return Reading(heads, "judge", [&] {
              const FrozenScope scope;
              const Heads::Judged judged = heads.Judge(before, actions, after);
              TensorMap found;
              if (judged.rewards.defined()) found.emplace("rewards", judged.rewards);
              if (judged.termination_logits.defined()) {
                found.emplace("termination_logits", judged.termination_logits);
              }
              return found;
            });
          },
          py::arg("before"), py::arg("actions"), py::arg("after"), R"(
before, after: float32 [N, features], of the frame that an action was taken on and of the next;
actions: int64 [N]. Returns what is learned of "rewards" (expected) and "termination_logits" (trained
with a higher weight of terminations, so their probabilities are too high): float32 [N] each.
)");
}

}  // namespace genie_env
