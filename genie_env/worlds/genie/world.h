#pragma once

#include <memory>

#include "genie_env/worlds/world.h"
#include "genie_env/worlds/world_directory.h"

namespace genie_env {

/// A world of Genie (Bruce et al. 2024): a tokenizer (models/genie/tokenizer.h) makes tokens of
/// frames and frames of tokens, MaskGIT dynamics (models/genie/dynamics.h) dream the next frame's
/// tokens from those of the past and a latent action. It was learned from video alone, so it knows
/// no reward (0) and no end of an episode but the time limit. Throws FormatError on a malformed
/// directory, std::invalid_argument on options that this machine cannot serve.
///
/// State of a row: "tokens" int64 [S] of the current frame; "time" int64 [], the frames of this
/// dream so far; "past" [blocks, 2, S, window - 1, width], the dynamics' keys and values of the
/// last frames in the type of the products; "eyes_time" and "eyes_past", the same of the
/// tokenizer's encoder, which Begin with frames and Follow move, and Step ends. No row's past is
/// ever copied or computed again, and a dream may be of any length. Observations: "tokens",
/// "latents" (float32 [S * code dimensions], the tokens' places in the codebook) and "pixels".
///
/// On a GPU, which takes CUDA kernels in this build, Step never waits for it where actions and
/// temperatures lie on the CPU. So it does not look at what the caller may have written into a
/// state: shapes are checked there, but neither that tokens are within the codebook (what shows
/// them takes the nearest that is) nor that times are not negative, nor that a row has begun (it
/// dreams without a past).
///
/// Draws of a call: Begin takes kStart; Step kMaskGitToken, one a token; Step and Follow
/// kMaskGitOrder, one a token, where the order is random.
std::shared_ptr<const World> LoadGenieWorld(const WorldDirectory& directory,
                                            const WorldOptions& options);

}  // namespace genie_env
