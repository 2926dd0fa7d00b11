#pragma once

#include <filesystem>
#include <string>

namespace genie_env {

/// The folder in which code is kept that AOTInductor compiled for the world of that fingerprint: in
/// $GENIE_ENV_CACHE, $XDG_CACHE_HOME/genie_env or ~/.cache/genie_env, outside any world directory.
/// It holds NAME.pt2 for every graph, and machine.txt. Throws std::runtime_error where none of the
/// three variables names an absolute path.
std::filesystem::path CompiledFolder(const std::string& fingerprint);

/// What compiled code depends on: the versions of torch and the processor with its instruction
/// sets. It is the text of machine.txt.
std::string CompilingMachine();

/// Throws std::invalid_argument, saying what to do, unless `folder` holds code that was compiled on
/// such a machine as this one, and nobody but this user can write to it.
void CheckCompiled(const std::filesystem::path& folder);

}  // namespace genie_env
