#pragma once

#include "genie_env/worlds/registry.h"

namespace genie_env {

/// The exported family: a user's PyTorch model, as genie_env.export_world wrote it. The contract of
/// such a model is on one page in docs/your-own-world.md.
///
/// The world directory holds model.pt2, a torch.export archive, in the place of model.safetensors:
/// its graphs are "initial" and "step" and, where config.json says so, "follow" and "render". No
/// code of the archive is ever run but the operators that its graphs name, all of them on a list
/// (operators.h). starts.safetensors holds the contexts that episodes begin from, [starts, *shape].
///
/// The graphs take and give tensors [N, *shape] in this order, each list as config.json has it:
///
///     graph    takes                              gives
///     initial  context, noise                     state, observations
///     step     state, action, temperature, noise  state, reward, [probability], observations
///     follow   state, action, frame, noise        what step gives
///     render   state                              frame, uint8 [N, H, W, 3]
///
/// State of a row: the model's own, under its names, then "observation/NAME" for every observation
/// of the frame that it is at. Observations: the declared ones and, where the model renders,
/// "pixels". Surprise is 0, as the model says none, and not finite where the row's state is not.
///
/// Draws of a call: FamilyStream(i) for noise i; Begin takes kStart (which start) too, and Step and
/// Follow kTermination where ends are sampled. Its options are "termination", as of vision-memory,
/// and "compile": graphs are then code that was compiled on this machine (compiled_folder.h).
WorldFamily ExportedFamily();

}  // namespace genie_env
