#pragma once

#include <span>
#include <string>
#include <string_view>

namespace genie_env {

// What the graphs of an exported world may compute: operators of torch that have no side effects,
// draw no random numbers, and whose outputs' shapes follow from their inputs' shapes. Targets are
// named as graphs of torch.export name them: "torch.ops.aten.add.Tensor", "_operator.mul".

/// The operators of aten among them, without "torch.ops.aten.": sorted, each with its overload.
std::span<const std::string_view> ServedAtenOperators();

/// Whether nodes of a graph may have this target: one of aten's operators, or a sum, difference,
/// product or quotient of the number of rows ("_operator.add", "sub", "mul", "floordiv").
bool ServesOperator(std::string_view target);

/// Why ServesOperator(target) is false and what to do: the rest of a sentence that begins with the
/// target, for instance "draws random numbers: ...".
std::string WhyNotServed(std::string_view target);

}  // namespace genie_env
