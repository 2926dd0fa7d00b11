# GENIE_ENV_LINT adds two tests: clang-format over all C++ files, and clang-tidy over all that is compiled
# but the tests. Both are version 14; another may judge otherwise. Where folders are compiled as one file
# (CMAKE_UNITY_BUILD), clang-tidy reads them so too: torch's headers then cost a quarter of the time.
find_program(CLANG_FORMAT NAMES clang-format-14 clang-format REQUIRED)
find_program(CLANG_TIDY NAMES clang-tidy-14 clang-tidy REQUIRED)
find_program(RUN_CLANG_TIDY NAMES run-clang-tidy-14 run-clang-tidy REQUIRED)
cmake_host_system_information(RESULT processors QUERY NUMBER_OF_LOGICAL_CORES)

# Clang may lack the omp.h that GCC brings.
add_test(NAME Tidy COMMAND "${RUN_CLANG_TIDY}" -quiet -j ${processors} -p "${CMAKE_BINARY_DIR}"
                           -clang-tidy-binary "${CLANG_TIDY}" -extra-arg=-fno-openmp
                           "^(?!.*/tests/cpp/).*[.](cc|cxx)$")
set_tests_properties(Tidy PROPERTIES PROCESSORS ${processors} TIMEOUT 1500)

file(GLOB_RECURSE formatted CONFIGURE_DEPENDS genie_env/*.cc genie_env/*.h genie_env/*.cu bindings/*.cc
     bindings/*.h examples/*.cc tests/*.h tests/*.cc tests/*.cu)
add_test(NAME Format COMMAND "${CLANG_FORMAT}" --dry-run -Werror ${formatted})
