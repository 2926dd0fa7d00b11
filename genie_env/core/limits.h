#pragma once

#include <cstdint>
#include <string>

namespace genie_env {

// The largest sizes of networks. Training refuses what a frozen world could not be loaded with.

inline constexpr int64_t kMostLatents = 4096;
inline constexpr int64_t kMostHidden = 65536;
inline constexpr int64_t kMostComponents = 32;

// Of tokenizer, latent actions and dynamics. What they say of recordings is stored as uint16 tokens
// and uint8 actions.
inline constexpr int64_t kMostCodes = 65536;
inline constexpr int64_t kMostLatentActions = 256;
inline constexpr int64_t kMostCodeDimensions = 1024;
inline constexpr int64_t kMostPositions = 4096;
inline constexpr int64_t kMostSide = 8192;  // of a frame, in pixels
inline constexpr int64_t kMostWidth = 8192;
inline constexpr int64_t kMostBlocks = 64;
inline constexpr int64_t kMaxWindow = 1024;
inline constexpr int64_t kMostPasses = 64;

/// Throws std::invalid_argument unless least <= size <= most; `name` is what the error calls it.
void CheckSize(const std::string& name, int64_t size, int64_t most, int64_t least = 1);

}  // namespace genie_env
