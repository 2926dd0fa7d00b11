#pragma once

#include "genie_env/worlds/registry.h"

namespace genie_env {

/// The genie family, a world of Genie (Bruce et al. 2024): a tokenizer (models/genie/tokenizer.h)
/// makes tokens of frames and frames of tokens, MaskGIT dynamics (models/genie/dynamics.h) dream
/// the next frame's tokens from those of the frames before and a latent action. They are learned
/// from video alone. Heads (models/genie/heads.h) that were learned afterwards, from recordings
/// with rewards, judge reward and termination on their features; a world without knows no reward
/// (0) and no end of an episode but the time limit.
///
/// State of a row: "tokens" int64 [S] of the current frame; "time" int64 [], the frames of this
/// dream so far; "past" [blocks, 2, S, window - 1, width], the dynamics' kv cache in the type of
/// the products; "eyes_time" and "eyes_past", the frames so far and the kv cache of the tokenizer's
/// encoder, which Begin with frames and Follow advance, and Step empties; "features" float32 [4
/// width], what the dynamics make of the frames up to the current one (frozen_genie.h). (Snapshots
/// on disk have these names.) No row's cache is ever copied or computed again, and a dream may be
/// of any length. Observations: "latents" (float32 [S * code dimensions], the tokens' places in the
/// codebook; first, as any policy can read them), "features", "tokens" and "pixels".
///
/// On a GPU, which takes CUDA kernels in this build, Step never waits for it where actions and
/// temperatures lie on the CPU. So it does not look at what the caller may have written into a
/// state: shapes are checked there, but neither that tokens are within the codebook (what shows
/// them takes the nearest that is) nor that times are not negative, nor that a row has begun (it
/// dreams with an empty cache).
///
/// Draws of a call: Begin takes kStart; Step kMaskGitToken, one a token; Step and Follow
/// kMaskGitOrder, one a token, where the order is random, and kTermination, where terminations are
/// learned and sampled.
///
/// Its options: "passes", MaskGIT passes a frame, 1 to 64: the time of a step grows with them;
/// "order", which hidden tokens a pass unmasks: those of the highest "confidence", or "random"
/// ones; and, where terminations are learned, "termination": "sampled" or "thresholded".
WorldFamily GenieFamily();

}  // namespace genie_env
