#pragma once

#include "genie_env/worlds/registry.h"

namespace genie_env {

/// The vision-memory family, a world of World Models (Ha & Schmidhuber 2018): V
/// (models/vision_memory/vision.h) makes frames of latents and latents of frames, M
/// (models/vision_memory/memory.h) dreams the next latents.
///
/// State of a row, float32: "z" [latents] of the current frame; "h" and "c" [hidden], M's LSTM
/// before it reads that frame (zero at an episode's first); "restart" [], 1 at an episode's first
/// frame. Begin writes all four, as do Step and Follow. Observations: "zch" (z, c, h side by side),
/// "zh", and "pixels", the decoded frame.
///
/// Draws of a call: Begin takes kStart (which stored start) and kVision (z's noise); Step kMixture,
/// one a mixture (a latent dimension, or in joint worlds a row), and kGaussian, one a latent
/// dimension; Follow kVision; both kTermination where
/// termination is sampled. Actions are discrete, and M sees the input that config.json names for
/// each: the controller of the paper gave one of three actions too, by thirds of its output.
///
/// Its one option, "termination", says how the end of an episode is drawn: "sampled" from its
/// probability, or "thresholded" at one half.
WorldFamily VisionMemoryFamily();

}  // namespace genie_env
