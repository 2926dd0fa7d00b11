#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <string>

#include "genie_env/core/options.h"
#include "genie_env/core/random.h"
#include "genie_env/worlds/outcome_config.h"

namespace genie_env {

/// The option "termination" of families whose worlds learn how episodes end.
OptionSpec TerminationOptionSpec();

/// How episodes of the world `name` end: as its directory says, `stored`, or as is given. Throws
/// std::invalid_argument where one is given and they never do.
Termination TerminationInForce(Termination stored, const OptionValues& given,
                               const std::string& name);

/// The option of a loaded world; none where its episodes never end.
std::optional<Option> TerminationOption(Termination stored, Termination in_force);

/// Whether each of N rows' episodes ends, as WorldStep says it.
struct Ending {
  at::Tensor terminated;   ///< bool [N]
  at::Tensor probability;  ///< float32 [N]; undefined where nothing terminates
};

/// logit: of the termination probability, float32 [N] on any device. Takes kTermination draws where
/// ends are sampled.
Ending EndingOf(Termination termination, const at::Tensor& logit, const RowCounters& rng);

/// The same of a probability that is known as such; `termination` is not kNever.
Ending EndingOfProbability(Termination termination, const at::Tensor& probability,
                           const RowCounters& rng);

}  // namespace genie_env
