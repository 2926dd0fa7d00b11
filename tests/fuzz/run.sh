#!/usr/bin/env bash
# Builds the fuzz targets with clang's sanitizers into build/fuzz/ and gives each so many runs
# (default: 100000). What they find worth keeping is kept there for the next time. Needs clang and
# the headers of nlohmann_json, of which a build of the library keeps a copy. See README.md.
set -euo pipefail
cd "$(dirname "$0")/../.."

runs=${1:-100000}
headers=$(ls -d build/*/headers/nlohmann_json 2>/dev/null | head -n 1)
export ASAN_OPTIONS=malloc_context_size=0:detect_leaks=0
for target in tests/fuzz/*_fuzz.cc; do
  name=$(basename "$target" _fuzz.cc)
  mkdir -p "build/fuzz/$name"
  (
    # What reads files, and nothing that needs LibTorch.
    clang++ -std=c++20 -g -O1 -fsanitize=fuzzer,address,undefined \
      -fno-sanitize-recover=undefined -I. ${headers:+-isystem "$headers"} "$target" \
      genie_env/{core,io}/*.cc genie_env/nn/genie_sizes.cc \
      genie_env/worlds/{genie,vision_memory}_config.cc -o "build/fuzz/${name}_fuzz"
    "build/fuzz/${name}_fuzz" -runs="$runs" "build/fuzz/$name" "tests/fuzz/corpus/$name" \
      >"build/fuzz/$name.log" 2>&1 || { cat "build/fuzz/$name.log"; exit 1; }
    echo "$name: $(tail -n 1 "build/fuzz/$name.log")"
  ) &
done
failed=0
for job in $(jobs -p); do wait "$job" || failed=1; done
exit $failed
