#include "genie_env/core/random.h"

#include <algorithm>
#include <bit>
#include <cstddef>

// The loops below are compiled for several generations of processors, one of which is chosen when
// the program starts. The same seed must give the same draws on all of them, so every operation
// rounds as IEEE 754 says: none is contracted into a fused one, and none calls the C library, whose
// logarithms differ between versions. kernels/cpu/float_math.h has another logarithm, which may
// differ between processors.
#if defined(__clang__)
#pragma clang fp contract(off)
#elif defined(__GNUC__)
#pragma GCC optimize("O3", "fp-contract=off")
#endif
// GCC knows these names since version 12; other compilers make the one version of the baseline.
#if defined(__GNUC__) && __GNUC__ >= 12 && !defined(__clang__) && defined(__x86_64__) && \
    defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define GENIE_ENV_FOR_EVERY_CPU \
  __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define GENIE_ENV_FOR_EVERY_CPU
#endif

namespace genie_env {
namespace {

struct Block {
  uint32_t x0, x1, x2, x3;
};

inline Block Round(const Block& x, uint32_t key0, uint32_t key1) {
  const uint64_t product0 = uint64_t{0xD2511F53} * x.x0;
  const uint64_t product1 = uint64_t{0xCD9E8D57} * x.x2;
  return {static_cast<uint32_t>(product1 >> 32) ^ x.x1 ^ key0, static_cast<uint32_t>(product1),
          static_cast<uint32_t>(product0 >> 32) ^ x.x3 ^ key1, static_cast<uint32_t>(product0)};
}

inline Block TenRounds(Block x, uint64_t key) {
  constexpr uint32_t kWeyl0 = 0x9E3779B9;
  constexpr uint32_t kWeyl1 = 0xBB67AE85;
  const auto k0 = static_cast<uint32_t>(key);
  const auto k1 = static_cast<uint32_t>(key >> 32);
  // The rounds are written out: a loop here would prevent the vectorisation of the loop around it.
  x = Round(x, k0, k1);
  x = Round(x, k0 + kWeyl0, k1 + kWeyl1);
  x = Round(x, k0 + 2 * kWeyl0, k1 + 2 * kWeyl1);
  x = Round(x, k0 + 3 * kWeyl0, k1 + 3 * kWeyl1);
  x = Round(x, k0 + 4 * kWeyl0, k1 + 4 * kWeyl1);
  x = Round(x, k0 + 5 * kWeyl0, k1 + 5 * kWeyl1);
  x = Round(x, k0 + 6 * kWeyl0, k1 + 6 * kWeyl1);
  x = Round(x, k0 + 7 * kWeyl0, k1 + 7 * kWeyl1);
  x = Round(x, k0 + 8 * kWeyl0, k1 + 8 * kWeyl1);
  return Round(x, k0 + 9 * kWeyl0, k1 + 9 * kWeyl1);
}

// The upper 23 bits n of a word, as the number (n + 1/2) / 2^23, which a float holds exactly.
inline int32_t Upper(uint32_t word) { return static_cast<int32_t>(word >> 9); }
inline float Uniform(uint32_t word) { return (static_cast<float>(Upper(word)) + 0.5F) * 0x1p-23F; }

// -2 ln u for u in (0, 1); the polynomial is Cephes' logf.
inline float MinusTwoLog(float u) {
  constexpr int32_t kRootOfHalf = 0x3F3504F3;
  const int32_t above = std::bit_cast<int32_t>(u) - kRootOfHalf;
  const auto exponent = static_cast<float>(above >> 23);
  const float f = std::bit_cast<float>((above & 0x7FFFFF) + kRootOfHalf) - 1;
  const float square = f * f;
  float p = 7.0376836292e-2F;
  p = p * f - 1.1514610310e-1F;
  p = p * f + 1.1676998740e-1F;
  p = p * f - 1.2420140846e-1F;
  p = p * f + 1.4249322787e-1F;
  p = p * f - 1.6668057665e-1F;
  p = p * f + 2.0000714765e-1F;
  p = p * f - 2.4999993993e-1F;
  p = p * f + 3.3333331174e-1F;
  p = p * f * square + exponent * -2.12194440e-4F - 0.5F * square;
  return -2 * (f + p + exponent * 0.693359375F);
}

// The square root of x > 0 by Newton's iteration for its inverse. (sqrtf would do, but its errno
// keeps loops from being vectorised.)
inline float Root(float x) {
  float y = std::bit_cast<float>(0x5F375A86 - (std::bit_cast<int32_t>(x) >> 1));
  const float half = 0.5F * x;
  y = y * (1.5F - half * y * y);
  y = y * (1.5F - half * y * y);
  y = y * (1.5F - half * y * y);
  return x * y;
}

// Makes two normal draws: the radius comes from the first word, the angle from the second.
inline void Normal(uint32_t word0, uint32_t word1, float& cosine, float& sine) {
  const float radius = Root(MinusTwoLog(Uniform(word0)));
  // The angle is a number of quarter turns and a rest within an eighth, for Cephes' sinf and cosf.
  const int32_t turn = Upper(word1);
  const int32_t quarters = (turn + (1 << 20)) >> 21;
  const float rest =
      (static_cast<float>(turn - (quarters << 21)) + 0.5F) * (6.283185307F * 0x1p-23F);
  const float z = rest * rest;
  const float s =
      ((-1.9515295891e-4F * z + 8.3321608736e-3F) * z - 1.6666654611e-1F) * z * rest + rest;
  const float c =
      ((2.4433157118e-5F * z - 1.3887316255e-3F) * z + 4.1666645683e-2F) * z * z - 0.5F * z + 1;
  const uint32_t swap = -static_cast<uint32_t>(quarters & 1);
  const uint32_t sign_c = static_cast<uint32_t>((quarters + 1) & 2) << 30;
  const uint32_t sign_s = static_cast<uint32_t>(quarters & 2) << 30;
  const auto bits_s = std::bit_cast<uint32_t>(s);
  const auto bits_c = std::bit_cast<uint32_t>(c);
  const uint32_t difference = (bits_s ^ bits_c) & swap;
  cosine = radius * std::bit_cast<float>(bits_c ^ difference ^ sign_c);
  sine = radius * std::bit_cast<float>(bits_s ^ difference ^ sign_s);
}

// Blocks of any rows, computed side by side: as many as the widest vectors hold.
constexpr size_t kLanes = 16;

struct Lanes {
  uint32_t block[kLanes];
  uint32_t step[kLanes];
  uint32_t episode[kLanes];
  uint64_t seed[kLanes];
};

// Both functions write the four elements of each lane.
GENIE_ENV_FOR_EVERY_CPU
void UniformBlocks(const Lanes& lanes, uint32_t stream, float* out) {
  for (size_t i = 0; i < kLanes; ++i) {
    const Block x =
        TenRounds({lanes.block[i], stream, lanes.step[i], lanes.episode[i]}, lanes.seed[i]);
    out[4 * i] = Uniform(x.x0);
    out[4 * i + 1] = Uniform(x.x1);
    out[4 * i + 2] = Uniform(x.x2);
    out[4 * i + 3] = Uniform(x.x3);
  }
}

GENIE_ENV_FOR_EVERY_CPU
void NormalBlocks(const Lanes& lanes, uint32_t stream, float* out) {
  for (size_t i = 0; i < kLanes; ++i) {
    const Block x =
        TenRounds({lanes.block[i], stream, lanes.step[i], lanes.episode[i]}, lanes.seed[i]);
    float a = 0;
    float b = 0;
    float c = 0;
    float d = 0;
    Normal(x.x0, x.x1, a, b);
    Normal(x.x2, x.x3, c, d);
    out[4 * i] = a;
    out[4 * i + 1] = b;
    out[4 * i + 2] = c;
    out[4 * i + 3] = d;
  }
}

template <typename Blocks>
void Fill(Blocks blocks, std::span<const RowCounter> rows, Stream stream, std::span<float> out) {
  if (rows.empty()) return;
  const size_t size = out.size() / rows.size();
  Lanes lanes{};
  size_t row = 0, element = 0, written = 0;  // of the next lane; of out
  while (written < out.size()) {
    const size_t first = element;
    size_t count = 0, elements = 0;
    for (; count < kLanes && row < rows.size(); ++count) {
      lanes.block[count] = static_cast<uint32_t>(element / 4);
      lanes.step[count] = rows[row].step;
      lanes.episode[count] = rows[row].episode;
      lanes.seed[count] = rows[row].seed;
      element += 4;
      const bool last = element >= size;
      elements += last ? size + 4 - element : 4;
      element = last ? 0 : element;
      row += last ? 1 : 0;
    }
    if (elements == 4 * kLanes) {
      blocks(lanes, static_cast<uint32_t>(stream), &out[written]);
    } else {  // some are not wanted
      float drawn[4 * kLanes];
      blocks(lanes, static_cast<uint32_t>(stream), drawn);
      float* to = &out[written];
      for (size_t lane = 0, at = first; lane < count; ++lane) {
        to = std::copy_n(drawn + 4 * lane, std::min<size_t>(4, size - at), to);
        at = at + 4 < size ? at + 4 : 0;
      }
    }
    written += elements;
  }
}

}  // namespace

std::array<uint32_t, 4> Philox(uint64_t key, const std::array<uint32_t, 4>& counter) {
  const Block x = TenRounds({counter[0], counter[1], counter[2], counter[3]}, key);
  return {x.x0, x.x1, x.x2, x.x3};
}

void FillUniform(const RowCounter& row, Stream stream, std::span<float> out) {
  Fill(UniformBlocks, {&row, 1}, stream, out);
}

void FillNormal(const RowCounter& row, Stream stream, std::span<float> out) {
  Fill(NormalBlocks, {&row, 1}, stream, out);
}

void FillUniformRows(std::span<const RowCounter> rows, Stream stream, std::span<float> out) {
  Fill(UniformBlocks, rows, stream, out);
}

void FillNormalRows(std::span<const RowCounter> rows, Stream stream, std::span<float> out) {
  Fill(NormalBlocks, rows, stream, out);
}

}  // namespace genie_env
