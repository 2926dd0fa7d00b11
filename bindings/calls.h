#pragma once

#include <pybind11/pybind11.h>

#include <utility>

#include "genie_env/core/exclusive.h"
#include "genie_env/models/trainer.h"

namespace genie_env {

/// Runs use() without the interpreter's lock, beside no call that changes the network.
template <typename Use>
auto Reading(const Model& model, const char* name, const Use& use) {
  const pybind11::gil_scoped_release released;
  const Exclusive::Call call = model.calls().Read(name);
  return use();
}

/// A method of a trainer as Python calls it: beside no other call of its network.
template <typename Result, typename... Arguments>
auto Alone(const char* name, Result (Trainer::*method)(Arguments...)) {
  return [=](Trainer& trainer, Arguments... arguments) -> Result {
    const pybind11::gil_scoped_release released;
    const Exclusive::Call call = trainer.model().calls().Enter(name);
    return (trainer.*method)(arguments...);
  };
}

template <typename Result, typename... Arguments>
auto Alone(const char* name, Result (Trainer::*method)(Arguments...) const) {
  return [=](const Trainer& trainer, Arguments... arguments) -> Result {
    const pybind11::gil_scoped_release released;
    const Exclusive::Call call = trainer.model().calls().Enter(name);
    return (trainer.*method)(arguments...);
  };
}

}  // namespace genie_env
