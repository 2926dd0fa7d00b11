# GENIE_ENV_LINT adds to the tests: clang-format over all C++ files, and clang-tidy over the library,
# the bindings and the examples, one test a file. Both are version 14; another may judge otherwise.
find_program(CLANG_FORMAT NAMES clang-format-14 clang-format REQUIRED)
find_program(CLANG_TIDY NAMES clang-tidy-14 clang-tidy REQUIRED)

# clang-tidy needs the compiler's command for each file. A unity build has none, so another build folder
# is configured for it, and not built.
set(tidy_build "${CMAKE_BINARY_DIR}")
if(CMAKE_UNITY_BUILD)
  set(tidy_build "${CMAKE_BINARY_DIR}/tidy")
  file(COPY "${CMAKE_BINARY_DIR}/headers" DESTINATION "${tidy_build}")
  execute_process(
    COMMAND
      "${CMAKE_COMMAND}" -G "${CMAKE_GENERATOR}" -S "${PROJECT_SOURCE_DIR}" -B "${tidy_build}"
      "-DCMAKE_MAKE_PROGRAM=${CMAKE_MAKE_PROGRAM}" "-DPython_EXECUTABLE=${Python_EXECUTABLE}"
      "-DLibTorch_ROOT=${LibTorch_folder}" -DGENIE_ENV_CUDA=OFF
      -DGENIE_ENV_TESTS=ON -DGENIE_ENV_LINT=OFF -DCMAKE_UNITY_BUILD=OFF COMMAND_ERROR_IS_FATAL ANY
    OUTPUT_QUIET)
endif()

file(GLOB_RECURSE tidied CONFIGURE_DEPENDS genie_env/*.cc bindings/*.cc examples/*.cc)
if(GENIE_ENV_HAS_CUDA)
  list(FILTER tidied EXCLUDE REGEX "/no_cuda\\.cc$") # not compiled
endif()
foreach(file IN LISTS tidied)
  file(RELATIVE_PATH name "${PROJECT_SOURCE_DIR}" "${file}")
  # Clang may lack the omp.h that GCC brings.
  add_test(NAME "Tidy.${name}" COMMAND "${CLANG_TIDY}" --quiet -p "${tidy_build}"
                                       --extra-arg=-fno-openmp "${file}")
endforeach()

file(GLOB_RECURSE formatted CONFIGURE_DEPENDS genie_env/*.h genie_env/*.cu tests/*.h tests/*.cc
     tests/*.cu)
add_test(NAME Format COMMAND "${CLANG_FORMAT}" --dry-run -Werror ${tidied} ${formatted})
