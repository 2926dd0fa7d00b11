# Finds the LibTorch inside the installed torch wheel, without importing torch and without torch's
# own CMake package (which insists on a CUDA toolkit). Defines the target LibTorch::LibTorch, and
# LibTorch::Python for extension modules.
#
# Input:  Python_EXECUTABLE; LibTorch_ROOT (optional): an unpacked libtorch or the torch package.
# Output: LibTorch_FOUND, LibTorch_VERSION, LibTorch_CUDA (whether this torch has CUDA libraries).

if(NOT LibTorch_ROOT)
  # The last line also looks beside an isolated build environment, in the environment that asked for
  # the build.
  execute_process(
    COMMAND
      "${Python_EXECUTABLE}" -c
      "import importlib.util, os, sys, sysconfig
sys.path.append(sysconfig.get_path('purelib'))
spec = importlib.util.find_spec('torch')
print(os.path.dirname(spec.origin) if spec else '')"
    OUTPUT_VARIABLE LibTorch_ROOT
    OUTPUT_STRIP_TRAILING_WHITESPACE)
endif()

find_path(LibTorch_INCLUDE_DIR torch/script.h HINTS "${LibTorch_ROOT}/include" NO_DEFAULT_PATH)
find_library(LibTorch_torch torch HINTS "${LibTorch_ROOT}/lib" NO_DEFAULT_PATH)
find_library(LibTorch_torch_cpu torch_cpu HINTS "${LibTorch_ROOT}/lib" NO_DEFAULT_PATH)
find_library(LibTorch_c10 c10 HINTS "${LibTorch_ROOT}/lib" NO_DEFAULT_PATH)
find_library(LibTorch_torch_python torch_python HINTS "${LibTorch_ROOT}/lib" NO_DEFAULT_PATH)
find_library(LibTorch_torch_cuda torch_cuda HINTS "${LibTorch_ROOT}/lib" NO_DEFAULT_PATH)
find_library(LibTorch_c10_cuda c10_cuda HINTS "${LibTorch_ROOT}/lib" NO_DEFAULT_PATH)

if(LibTorch_INCLUDE_DIR)
  file(STRINGS "${LibTorch_INCLUDE_DIR}/torch/headeronly/version.h" _version_lines
       REGEX "define TORCH_VERSION_(MAJOR|MINOR|PATCH)")
  string(REGEX MATCHALL "[0-9]+" _version "${_version_lines}")
  list(JOIN _version "." LibTorch_VERSION)
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(
  LibTorch
  REQUIRED_VARS LibTorch_INCLUDE_DIR LibTorch_torch LibTorch_torch_cpu LibTorch_c10
  VERSION_VAR LibTorch_VERSION
  REASON_FAILURE_MESSAGE "install torch ${LibTorch_FIND_VERSION} into ${Python_EXECUTABLE}, or set LibTorch_ROOT")

if(LibTorch_FOUND AND NOT TARGET LibTorch::LibTorch)
  set(LibTorch_CUDA FALSE)
  if(LibTorch_torch_cuda)
    set(LibTorch_CUDA TRUE)
  endif()
  add_library(LibTorch::LibTorch INTERFACE IMPORTED)
  target_include_directories(
    LibTorch::LibTorch SYSTEM INTERFACE "${LibTorch_INCLUDE_DIR}"
                                        "${LibTorch_INCLUDE_DIR}/torch/csrc/api/include")
  target_compile_definitions(LibTorch::LibTorch INTERFACE _GLIBCXX_USE_CXX11_ABI=1)
  target_link_libraries(LibTorch::LibTorch INTERFACE ${LibTorch_torch} ${LibTorch_torch_cpu}
                                                     ${LibTorch_c10})
  if(LibTorch_CUDA)
    # Nothing names a symbol of these; the linker would drop them, and the device with them.
    target_link_libraries(
      LibTorch::LibTorch INTERFACE -Wl,--no-as-needed ${LibTorch_torch_cuda} ${LibTorch_c10_cuda}
                                   -Wl,--as-needed)
  endif()
  add_library(LibTorch::Python INTERFACE IMPORTED)
  target_link_libraries(LibTorch::Python INTERFACE LibTorch::LibTorch ${LibTorch_torch_python})
endif()
