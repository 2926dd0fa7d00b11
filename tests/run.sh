#!/usr/bin/env bash
# Installs what the tests need into the active virtual environment (GoogleTest from the system's
# packages, when it is missing), then runs all tests, C++ and Python; those that are marked long only
# with --long as the first argument. Writes nowhere but there, to build/ and to the temporary folder.
# Further arguments go to pip, for instance
#     tests/run.sh --config-settings=cmake.define.GENIE_ENV_LINT=ON
set -euo pipefail
cd "$(dirname "$0")/.."

marked=()
if [ "${1:-}" = --long ]; then
  marked=(-m "long or not long")
  shift
fi

python=python3
if ! "$python" -c 'import sys; sys.exit(sys.prefix == sys.base_prefix)'; then
  echo "tests/run.sh: no virtual environment is active. Make one and activate it:" >&2
  echo "    python3 -m venv .venv && . .venv/bin/activate" >&2
  exit 1
fi

# System packages, only when what they bring is missing.
packages=()
[ -e /usr/include/gtest/gtest.h ] || packages+=(libgtest-dev)
include=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')
[ -e "$include/Python.h" ] || packages+=(python3-dev)
if [ ${#packages[@]} -gt 0 ]; then
  as_root=()
  [ "$(id -u)" = 0 ] || as_root=(sudo)
  "${as_root[@]}" apt-get update
  "${as_root[@]}" apt-get install -y --no-install-recommends "${packages[@]}"
fi

# torch comes first: the build then links this one, and need not download another (see
# cmake/build_backend.py). The tests compile with the package, from the same objects.
"$python" -m pip install "$(grep -o '"torch==[^"]*"' pyproject.toml | tr -d '"')"
"$python" -m pip install '.[doom,car,test]' --config-settings=cmake.define.GENIE_ENV_TESTS=ON "$@"
command -v ctest >/dev/null || "$python" -m pip install cmake

build=build/$("$python" -c 'import sys; print(sys.implementation.cache_tag)')
export PYTHONDONTWRITEBYTECODE=1 MPLCONFIGDIR=$PWD/build/matplotlib GENIE_ENV_TEST_MODULES=$PWD/$build/tests/cpp
# The tests of a file share trained networks; conftest.py says which files come first.
options=("${marked[@]}" --numprocesses "$(nproc)" --dist loadfile --no-loadscope-reorder --durations 20)
failed=0
ctest --test-dir "$build" -j"$(nproc)" --output-on-failure --no-tests=error |
  tee build/ctest.log || failed=1
"$python" -m pytest "${options[@]}" | tee build/pytest.log || failed=1

# What stands on Gymnasium, on the oldest one that is supported.
oldest=$(sed -n 's/.*"gymnasium>=\([0-9.]*\).*/\1/p' pyproject.toml)
"$python" -m pip install --quiet --upgrade --no-deps --target build/gymnasium-oldest \
  "gymnasium==$oldest"
PYTHONPATH=build/gymnasium-oldest "$python" -m pytest "${options[@]}" \
  tests/python/test_{autoreset,car_racing,conformance,registration,sb3,single_env,vector_env}.py |
  tee build/pytest-oldest.log || failed=1
echo "C++:    $(grep 'tests passed' build/ctest.log)"
echo "Python: $(tail -n 1 build/pytest.log)"
echo "Gymnasium $oldest: $(tail -n 1 build/pytest-oldest.log)"
exit $failed
