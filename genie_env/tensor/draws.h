#pragma once

#include <ATen/core/Tensor.h>

#include <span>

#include "genie_env/core/random.h"

namespace genie_env {

/// Chooses one of `count` starts for each row by its draw of the stream: int64 [N], on the CPU.
at::Tensor DrawStartIndices(const RowCounters& rng, int64_t count, Stream stream = Stream::kStart);

/// FillUniformRows or FillNormalRows.
using Filler = void (*)(std::span<const RowCounter>, Stream, std::span<float>);

/// Writes rows `begin` .. `end` - 1 of what Draw returns to `draws`: float32 [N, size] on the CPU.
void DrawRows(const RowCounters& rng, Stream stream, Filler fill, int64_t begin, int64_t end,
              const at::Tensor& draws);

/// float32 [N, size] on the CPU: elements 0 .. size - 1 of the stream of every row.
at::Tensor Draw(const RowCounters& rng, Stream stream, int64_t size, Filler fill);

}  // namespace genie_env
