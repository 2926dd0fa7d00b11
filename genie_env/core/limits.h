#pragma once

#include <cstdint>
#include <string>

namespace genie_env {

// The largest sizes of networks and recordings. Training refuses a network that no frozen world
// could hold. Python reads them as genie_env._core.limits.

inline constexpr int64_t kMaxActions = 1024;        ///< of a game
inline constexpr int64_t kMaxRecordedSide = 65535;  ///< of a recorded frame, in pixels
inline constexpr int64_t kMaxFrameSide = 8192;      ///< of a frame that a network takes, in pixels

// V and M.
inline constexpr int64_t kMaxLatents = 4096;
inline constexpr int64_t kMaxHidden = 65536;
inline constexpr int64_t kMaxComponents = 32;

// Tokenizer, latent action model and dynamics. Caches of a recording hold tokens as uint16 and
// latent actions as uint8.
inline constexpr int64_t kMaxCodes = 65536;
inline constexpr int64_t kMaxLatentActions = 256;
inline constexpr int64_t kMaxCodeDimensions = 1024;
inline constexpr int64_t kMaxPositions = 4096;
inline constexpr int64_t kMaxWidth = 8192;
inline constexpr int64_t kMaxBlocks = 64;
inline constexpr int64_t kMaxWindow = 1024;
inline constexpr int64_t kMaxPasses = 64;

/// Throws std::invalid_argument unless least <= size <= most. `name` is the size's name in the
/// error.
void CheckSize(const std::string& name, int64_t size, int64_t most, int64_t least = 1);

}  // namespace genie_env
