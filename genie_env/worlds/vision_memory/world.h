#pragma once

#include <memory>

#include "genie_env/worlds/world.h"
#include "genie_env/worlds/world_directory.h"

namespace genie_env {

/// A world of World Models (Ha & Schmidhuber 2018): V (models/vision_memory/vision.h) makes frames
/// of latents and latents of frames, M (models/vision_memory/memory.h) dreams the next latents.
/// Throws FormatError on a malformed directory, std::invalid_argument on options that this machine
/// cannot serve.
///
/// State of a row, float32: "z" [latents] of the current frame; "h" and "c" [hidden], M's LSTM
/// before it reads that frame (zero at an episode's first); "restart" [], 1 at an episode's first
/// frame. Begin writes all four, as do Step and Follow. Observations: "zch" (z, c, h side by side),
/// "zh", and "pixels", the decoded frame.
///
/// Draws of a call: Begin takes kStart (which stored start) and kVision (z's noise); Step kMixture
/// and kGaussian, one of each a latent dimension; Follow kVision; both kTermination where
/// termination is sampled. Actions are discrete, and M sees the input that config.json names for
/// each: the controller of the paper gave one of three actions too, by thirds of its output.
std::shared_ptr<const World> LoadVisionMemoryWorld(const WorldDirectory& directory,
                                                   const WorldOptions& options);

}  // namespace genie_env
