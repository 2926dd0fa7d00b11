# Finds the LibTorch inside the installed torch wheel, without importing torch and without torch's
# own CMake package (which insists on a CUDA toolkit). Defines the target LibTorch::LibTorch, and
# LibTorch::Python for extension modules.
#
# Input:  Python_EXECUTABLE, or LibTorch_ROOT: the folder of the torch package or an unpacked libtorch.
# Output: LibTorch_FOUND, LibTorch_VERSION, LibTorch_CUDA (whether this torch has CUDA libraries),
#         LibTorch_CUDA_VERSION (for instance 13.0; empty when unknown).
#
# Nothing is cached: pip builds in an environment that is gone afterwards, and a kept build folder
# must look again.

set(LibTorch_folder "${LibTorch_ROOT}")
if(NOT LibTorch_folder AND Python_EXECUTABLE)
  # The second place looks beside an isolated build environment, in the one that asked for the build.
  execute_process(
    COMMAND
      "${Python_EXECUTABLE}" -c
      "import importlib.util, os, sys, sysconfig
sys.path.append(sysconfig.get_path('purelib'))
spec = importlib.util.find_spec('torch')
print(os.path.dirname(spec.origin) if spec else '')"
    OUTPUT_VARIABLE LibTorch_folder
    OUTPUT_STRIP_TRAILING_WHITESPACE)
endif()

set(LibTorch_INCLUDE_DIR "LibTorch_INCLUDE_DIR-NOTFOUND")
set(LibTorch_version_file "${LibTorch_folder}/include/torch/headeronly/version.h")
if(EXISTS "${LibTorch_version_file}")
  set(LibTorch_INCLUDE_DIR "${LibTorch_folder}/include")
  file(STRINGS "${LibTorch_version_file}" LibTorch_version_lines
       REGEX "define TORCH_VERSION_(MAJOR|MINOR|PATCH)")
  string(REGEX MATCHALL "[0-9]+" LibTorch_VERSION "${LibTorch_version_lines}")
  list(JOIN LibTorch_VERSION "." LibTorch_VERSION)
endif()
foreach(library IN ITEMS torch torch_cpu c10 torch_python torch_cuda c10_cuda)
  find_library(LibTorch_${library} ${library} PATHS "${LibTorch_folder}/lib" NO_DEFAULT_PATH NO_CACHE)
endforeach()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(
  LibTorch
  REQUIRED_VARS LibTorch_INCLUDE_DIR LibTorch_torch LibTorch_torch_cpu LibTorch_c10
  VERSION_VAR LibTorch_VERSION
  HANDLE_VERSION_RANGE
  REASON_FAILURE_MESSAGE
    "looked in '${LibTorch_folder}'. Its C++ interface changes with every minor version: install \
torch==${LibTorch_FIND_VERSION_MIN}.* for ${Python_EXECUTABLE}, or set LibTorch_ROOT")

if(LibTorch_FOUND AND NOT TARGET LibTorch::LibTorch)
  set(LibTorch_CUDA FALSE)
  set(LibTorch_CUDA_VERSION "")
  if(LibTorch_torch_cuda)
    set(LibTorch_CUDA TRUE)
    if(EXISTS "${LibTorch_folder}/version.py")
      file(STRINGS "${LibTorch_folder}/version.py" LibTorch_cuda_line REGEX "^cuda: .*'[0-9.]+'")
      string(REGEX MATCH "[0-9]+\\.[0-9]+" LibTorch_CUDA_VERSION "${LibTorch_cuda_line}")
    endif()
  endif()
  # The wheel brings its OpenMP. -fopenmp would link the compiler's, beside it in one process.
  file(GLOB LibTorch_gomp "${LibTorch_folder}/lib/libgomp*.so*")
  if(NOT LibTorch_gomp)
    set(LibTorch_gomp gomp)
  endif()
  add_library(LibTorch::LibTorch INTERFACE IMPORTED)
  target_include_directories(
    LibTorch::LibTorch SYSTEM INTERFACE "${LibTorch_INCLUDE_DIR}"
                                        "${LibTorch_INCLUDE_DIR}/torch/csrc/api/include")
  target_compile_definitions(LibTorch::LibTorch INTERFACE _GLIBCXX_USE_CXX11_ABI=1)
  # libtorch.so exports parts of another libstdc++'s std::filesystem that crash when they are called:
  # the real one must come first.
  target_link_libraries(LibTorch::LibTorch INTERFACE stdc++ ${LibTorch_torch} ${LibTorch_torch_cpu}
                                                     ${LibTorch_c10} ${LibTorch_gomp})
  if(LibTorch_CUDA)
    # Nothing names a symbol of these; the linker would drop them, and the device with them.
    target_link_libraries(
      LibTorch::LibTorch INTERFACE -Wl,--push-state,--no-as-needed ${LibTorch_torch_cuda}
                                   ${LibTorch_c10_cuda} -Wl,--pop-state)
  endif()
  add_library(LibTorch::Python INTERFACE IMPORTED)
  target_link_libraries(LibTorch::Python INTERFACE LibTorch::LibTorch ${LibTorch_torch_python})
endif()
