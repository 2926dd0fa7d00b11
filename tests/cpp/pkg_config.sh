#!/usr/bin/env bash
# pkg_config.sh <folder of genie_env.pc> <version> <compiler> <folder of LibTorch>: what pkg-config says
# builds a program, with this compiler and with Clang, that runs and has one OpenMP.
set -euo pipefail
export PKG_CONFIG_PATH=$1
version=$2
command -v pkg-config >/dev/null || { echo "pkg-config is not installed"; exit 77; }
[ "$(pkg-config --modversion genie_env)" = "$version" ]

folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
cat >"$folder/program.cc" <<'EOF'
#include <genie_env/core/version.h>
#include <genie_env/io/safetensors.h>

#include <cstdio>

namespace genie_env {
bool HasOpenMp();  // of genie_env/tensor/device.h, whose headers of LibTorch take long to compile
}

int main() {
  std::printf("%s %d.%d.%d %d %d\n", GENIE_ENV_VERSION, GENIE_ENV_VERSION_MAJOR,
              GENIE_ENV_VERSION_MINOR, GENIE_ENV_VERSION_PATCH, genie_env::HasOpenMp(),
              static_cast<int>(genie_env::SizeOf(genie_env::StoredType::kFloat64)));
}
EOF
for compiler in "$3" clang++; do
  command -v "$compiler" >/dev/null || continue
  # shellcheck disable=SC2046
  "$compiler" -std=c++20 "$folder/program.cc" -o "$folder/program" $(pkg-config --define-variable="torchdir=$4" --cflags --libs genie_env)
  [ "$("$folder/program")" = "$version $version 1 8" ]
  openmp=$(ldd "$folder/program" | grep -oE 'lib(gomp|omp|iomp5)[^ ]* => [^ ]*' | sort -u)
  echo "$compiler: $openmp"
  [ "$(echo "$openmp" | wc -l)" = 1 ]
done
