#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace genie_env {

/// Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"): a pure
/// function from a key and a counter to 128 random bits.
std::array<uint32_t, 4> Philox(uint64_t key, const std::array<uint32_t, 4>& counter);

/// Every use of randomness has a stream of its own, so that no two uses within a dream, or within
/// the training of one network, share a draw. (Two networks with the same seed do share draws: the
/// initial weights and training noise of V and M begin with the same numbers. Give each network a
/// seed of its own where that matters.) Streams below 64 belong to the library, those from 64 up to
/// world families (see FamilyStream), and those from 2^31 up to the library again (see
/// NoiseStream).
enum class Stream : uint32_t {
  kStart = 0,        ///< which stored start a dream begins from
  kVision = 1,       ///< the Gaussian noise of an encoded or stored latent
  kMixture = 2,      ///< which component of the mixture density
  kGaussian = 3,     ///< the noise within the component
  kTermination = 4,  ///< whether the episode ends here
  kMaskGitToken = 5,
  kMaskGitOrder = 6,
  kTrainingNoise = 7,
  kInitialWeights = 8,
  kStartBank = 9,  ///< which state of a StartBank a dream begins from
};

/// A stream of a world family: 64 + index. Families may use the same streams, because a dream has
/// one family.
constexpr Stream FamilyStream(uint32_t index) { return static_cast<Stream>(64 + index); }

/// The stream of the use number `use` of noise within a training step, from 0 on.
constexpr Stream NoiseStream(uint32_t use) {
  return use == 0 ? Stream::kTrainingNoise : static_cast<Stream>((uint32_t{1} << 31) + use);
}

/// The key of one row's draws. They are a function of these three numbers, the stream and the
/// element alone, and do not depend on the row's place in the batch, its neighbours or threads.
/// Element i is word i % 4 of Philox(seed, {i / 4, stream, step, episode}).
struct RowCounter {
  uint64_t seed = 0;
  uint32_t episode = 0;
  uint32_t step = 0;
};

/// One counter a row; the `rng` argument of every world call.
using RowCounters = std::vector<RowCounter>;

/// The smallest number that FillUniform gives.
inline constexpr float kLeastUniform = 0x1p-24F;

/// Fills `out` with elements 0, 1, 2, ... of the stream, uniform in the open interval (0, 1): the
/// upper 23 bits n of the word as (n + 1/2) / 2^23. Thread-safe; the first n elements do not depend
/// on the size of `out` or on the processor.
void FillUniform(const RowCounter& row, Stream stream, std::span<float> out);

/// Fills `out` with standard normal draws (Box and Muller 1958): uniform elements u, v of an even
/// and the next number become sqrt(-2 ln u) cos(2 pi v) and sqrt(-2 ln u) sin(2 pi v).
void FillNormal(const RowCounter& row, Stream stream, std::span<float> out);

/// The same numbers for several rows, whose blocks are computed side by side: out is
/// [rows.size(), elements].
void FillUniformRows(std::span<const RowCounter> rows, Stream stream, std::span<float> out);
void FillNormalRows(std::span<const RowCounter> rows, Stream stream, std::span<float> out);

}  // namespace genie_env
