#!/usr/bin/env bash
# clang-format over all C++ files, clang-tidy over the library, the bindings and the examples.
#     tests/lint.sh BUILD     BUILD is a build folder, for its compile_commands.json
set -euo pipefail
cd "$(dirname "$0")/.."

git ls-files -co --exclude-standard '*.h' '*.cc' '*.cu' | xargs clang-format --dry-run -Werror
git ls-files -co --exclude-standard '*.cc' ':!tests' | grep -v kernels/no_cuda |
  xargs -P "$(nproc)" -n 1 clang-tidy -p "$1" --quiet
