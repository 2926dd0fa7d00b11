#!/usr/bin/env bash
# Builds the fuzz targets with clang's sanitizers into build/fuzz/ and gives each so many runs
# (default: 100000). What they find worth keeping is kept there for the next time. See README.md.
set -euo pipefail
cd "$(dirname "$0")/../.."

runs=${1:-100000}
# A build of the library keeps a copy of the headers that it was built with.
headers=$(find build -maxdepth 3 -path 'build/*/headers/nlohmann_json' 2>/dev/null | head -n 1)
if [ -z "$headers" ] && [ ! -e /usr/include/nlohmann/json.hpp ]; then
  echo "tests/fuzz/run.sh: nlohmann/json.hpp was not found. Run tests/run.sh first, or" >&2
  echo "    apt-get install nlohmann-json3-dev" >&2
  exit 1
fi

objects=build/fuzz/objects
mkdir -p "$objects"
compile=(clang++ -std=c++20 -g -O1 -fsanitize=address,undefined -fno-sanitize-recover=undefined
  -I. ${headers:+-isystem "$headers"})
# What reads files, and nothing that needs LibTorch.
printf '%s\n' genie_env/{core,io,data}/*.cc genie_env/models/genie/sizes.cc \
  genie_env/worlds/{action_config,outcome_config,world_directory}.cc genie_env/worlds/*/config.cc |
  xargs -P "$(nproc)" -I{} sh -c \
    'source=$1 objects=$2; shift 2; "$@" -c "$source" -o "$objects/$(echo "$source" | tr / _).o"' \
    compile {} "$objects" "${compile[@]}" -fsanitize=fuzzer-no-link

fuzz() {
  local name=$1
  mkdir -p "build/fuzz/$name"
  "${compile[@]}" -fsanitize=fuzzer "tests/fuzz/${name}_fuzz.cc" "$objects"/*.o \
    -o "build/fuzz/${name}_fuzz" || return 1
  ASAN_OPTIONS=malloc_context_size=0:detect_leaks=0 "build/fuzz/${name}_fuzz" -runs="$runs" \
    -artifact_prefix="build/fuzz/$name-" "build/fuzz/$name" "tests/fuzz/corpus/$name" \
    >"build/fuzz/$name.log" 2>&1 || { cat "build/fuzz/$name.log"; return 1; }
  echo "$name: $(tail -n 1 "build/fuzz/$name.log")"
}

jobs=()
for target in tests/fuzz/*_fuzz.cc; do
  fuzz "$(basename "$target" _fuzz.cc)" &
  jobs+=($!)
done
failed=0
for job in "${jobs[@]}"; do wait "$job" || failed=1; done
exit $failed
