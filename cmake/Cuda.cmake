# GENIE_ENV_CUDA says whether our own CUDA kernels are built: ON insists, AUTO builds them when torch
# has CUDA and a matching toolkit is there, OFF leaves them out. (Without them a world of
# vision and memory still runs on a GPU, through LibTorch; Genie does not.)
#
# Output: GENIE_ENV_HAS_CUDA, and add_cuda_kernels(<target>).

set(GENIE_ENV_HAS_CUDA FALSE)
set(cuda_obstacle "")
if(NOT GENIE_ENV_CUDA MATCHES "^(AUTO|ON|OFF)$")
  message(FATAL_ERROR "GENIE_ENV_CUDA is '${GENIE_ENV_CUDA}'; it must be AUTO, ON or OFF.")
elseif(GENIE_ENV_CUDA STREQUAL "OFF")
  set(cuda_obstacle "GENIE_ENV_CUDA is OFF")
elseif(NOT LibTorch_CUDA)
  set(cuda_obstacle "the torch in ${LibTorch_INCLUDE_DIR} was built without CUDA: install one with")
else()
  if(NOT CMAKE_CUDA_COMPILER) # also a search that failed before: the toolkit may be there by now
    unset(CMAKE_CUDA_COMPILER CACHE)
    find_program(nvcc nvcc HINTS $ENV{CUDA_HOME}/bin $ENV{CUDA_PATH}/bin PATHS /usr/local/cuda/bin
                 NO_CACHE)
    if(nvcc AND NOT DEFINED ENV{CUDACXX})
      set(ENV{CUDACXX} "${nvcc}")
    endif()
  endif()
  # Ampere and Hopper, each also as PTX for what comes after. CMake's own default is older than what
  # CUDA 13 can compile, so this must be known before it tries the compiler.
  if(NOT CMAKE_CUDA_ARCHITECTURES)
    set(CMAKE_CUDA_ARCHITECTURES 80 90)
  endif()
  list(JOIN CMAKE_CUDA_ARCHITECTURES ";" architectures)
  set(ENV{CUDAARCHS} "${architectures}")
  include(CheckLanguage)
  check_language(CUDA)
  if(NOT CMAKE_CUDA_COMPILER)
    set(cuda_obstacle "no working CUDA toolkit: install CUDA ${LibTorch_CUDA_VERSION}, or name its \
nvcc in the environment variable CUDACXX")
  else()
    set(CMAKE_CUDA_RUNTIME_LIBRARY Shared) # torch's own, so that both share one context
    enable_language(CUDA)
    if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION) # CMake 3.25 does not know it
      set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
    endif()
    find_package(CUDAToolkit REQUIRED)
    string(REGEX MATCH "^[0-9]+" torch_cuda_major "${LibTorch_CUDA_VERSION}")
    if(torch_cuda_major AND NOT CUDAToolkit_VERSION_MAJOR EQUAL torch_cuda_major)
      set(cuda_obstacle "the toolkit is CUDA ${CUDAToolkit_VERSION}, but this torch was built with \
${LibTorch_CUDA_VERSION}: install a toolkit of the same major version")
    else()
      set(GENIE_ENV_HAS_CUDA TRUE)
    endif()
  endif()
endif()

if(GENIE_ENV_HAS_CUDA)
  message(STATUS "CUDA kernels: yes, toolkit ${CUDAToolkit_VERSION} for ${CMAKE_CUDA_ARCHITECTURES}")
elseif(GENIE_ENV_CUDA STREQUAL "ON")
  message(FATAL_ERROR "GENIE_ENV_CUDA is ON, but ${cuda_obstacle}. "
                      "Or set GENIE_ENV_CUDA to AUTO or OFF to build without CUDA kernels.")
else()
  message(STATUS "CUDA kernels: no, ${cuda_obstacle}")
endif()

# Adds genie_env/**/*.cu to the library in place of every no_cuda.cc, which stands for them without CUDA.
function(add_cuda_kernels target)
  if(NOT GENIE_ENV_HAS_CUDA)
    return()
  endif()
  # An object library of its own, because these files must not see torch's headers or our flags.
  file(GLOB_RECURSE kernels CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/genie_env/*.cu")
  add_library(${target}_cuda OBJECT ${kernels})
  target_include_directories(${target}_cuda PRIVATE "${PROJECT_SOURCE_DIR}")
  target_compile_options(${target}_cuda PRIVATE -Xcompiler=-Wall,-Wextra)
  set_target_properties(${target}_cuda PROPERTIES CUDA_STANDARD 20 CUDA_STANDARD_REQUIRED ON
                                                  UNITY_BUILD OFF)
  get_target_property(sources ${target} SOURCES)
  list(FILTER sources EXCLUDE REGEX "/no_cuda\\.cc$")
  set_target_properties(${target} PROPERTIES SOURCES "${sources}")
  target_sources(${target} PRIVATE $<TARGET_OBJECTS:${target}_cuda>)
  target_link_libraries(${target} PUBLIC CUDA::cudart)
endfunction()
