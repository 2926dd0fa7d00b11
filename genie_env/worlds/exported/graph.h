#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "genie_env/worlds/exported/archive.h"

namespace genie_env {

/// A weight or constant in an archive, as its configuration describes it: "tensor_meta".
using StoredTensors = std::map<std::string, nlohmann::json>;

/// The JSON text of `bytes` without the nodes' "metadata", which nothing computes with. Throws
/// FormatError beginning with `name` where it is no JSON object, or is larger than 32 MiB.
nlohmann::json ParseArchiveJson(std::span<const std::byte> bytes, const std::string& name);

/// The static shape of a stored tensor, as its "tensor_meta" says.
struct StoredShape {
  at::ScalarType dtype;
  std::vector<int64_t> sizes, strides;  // as many of each; none is negative
};

/// Throws FormatError beginning with `what`: also where the tensor is not strided or does not begin
/// at the first byte.
StoredShape StoredShapeOf(const nlohmann::json& meta, const std::string& what);

/// The type of torch that serialised tensors, arguments and casts name by `code`. Throws
/// FormatError beginning with `what`.
at::ScalarType DtypeOf(const nlohmann::json& code, const std::string& what);

/// `value` as an integer from `least` to `most`. Throws FormatError beginning with `what`.
int64_t IntegerOf(const nlohmann::json& value, int64_t least, int64_t most,
                  const std::string& what);

/// Checks models/NAME.json, a serialised torch.export.ExportedProgram, as CheckArchive says.
/// `weights` and `constants` are those that the archive has for it. `name` begins every error.
ExportedGraph CheckGraph(const nlohmann::json& program, const StoredTensors& weights,
                         const StoredTensors& constants, at::DeviceType device,
                         const std::string& name);

}  // namespace genie_env
