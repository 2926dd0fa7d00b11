#!/usr/bin/env bash
# Builds the library with AddressSanitizer and UndefinedBehaviorSanitizer into build/sanitize/, and runs
# the C++ tests on it. After tests/run.sh, in the same virtual environment: the tests are those that it
# compiled, since what is tested is watched, not the tests. (The extension module is left out: it would
# need the sanitizer's runtime preloaded into Python.)
set -euo pipefail
cd "$(dirname "$0")/.."

python=python3
command -v cmake >/dev/null || "$python" -m pip install cmake
command -v ninja >/dev/null || "$python" -m pip install ninja
build=build/sanitize
package=$PWD/build/$("$python" -c 'import sys; print(sys.implementation.cache_tag)')
objects=$package/tests/cpp/CMakeFiles/genie_env_tests.dir
for needed in "$package/headers" "$objects"; do
  if [ ! -d "$needed" ]; then
    echo "tests/sanitizers.sh: $needed is missing. Run tests/run.sh first." >&2
    exit 1
  fi
done
mkdir -p "$build"
cp -r "$package/headers" "$build/" # the header libraries that the package was built with
cmake -G Ninja -B "$build" -DPython_EXECUTABLE="$(command -v "$python")" -DGENIE_ENV_PYTHON=OFF \
  -DGENIE_ENV_TESTS=ON -DGENIE_ENV_CUDA=OFF -DCMAKE_UNITY_BUILD=ON \
  -DGENIE_ENV_SANITIZE=address,undefined -DGENIE_ENV_TEST_OBJECTS="$objects"
ninja -C "$build" genie_env_tests

# LibTorch is not built with sanitizers: what it allocates and frees cannot be matched.
export ASAN_OPTIONS=detect_leaks=0:alloc_dealloc_mismatch=0 UBSAN_OPTIONS=halt_on_error=1
# Threads that wait leave the cores to the others.
export OMP_WAIT_POLICY=passive GTEST_BRIEF=1
# As many processes at once as there are cores. More parts than that, because some tests take long.
export GTEST_TOTAL_SHARDS=$(($(nproc) * 4))
seq 0 $((GTEST_TOTAL_SHARDS - 1)) |
  GTEST_PROGRAM=$build/tests/cpp/genie_env_tests xargs -P "$(nproc)" -I{} \
    sh -c 'GTEST_SHARD_INDEX={} timeout 900 "$GTEST_PROGRAM"'
