# `cmake --install BUILD --component cpp --prefix P` installs the library for C++ programs, which then
# say find_package(genie_env) and link genie_env::genie_env. The wheel holds it too, in the package's
# folder.
set(package_folder "${CMAKE_INSTALL_LIBDIR}/cmake/genie_env")
install(TARGETS genie_env EXPORT genie_env-targets DESTINATION "${CMAKE_INSTALL_LIBDIR}"
        COMPONENT cpp FILE_SET HEADERS DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}" COMPONENT cpp
                      FILE_SET generated_headers DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}" COMPONENT cpp)
install(EXPORT genie_env-targets NAMESPACE genie_env:: DESTINATION "${package_folder}"
        COMPONENT cpp)

# The same for other build systems: pkg-config --cflags --libs genie_env. The wheel lies beside torch's;
# elsewhere LibTorch is where it was for this build (or pkg-config --define-variable=torchdir=...).
set(torchdir "${LibTorch_folder}")
if(SKBUILD)
  set(torchdir "\${prefix}/../torch")
endif()
file(RELATIVE_PATH prefix_from_pkgconfig "/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/")
set(torch_libraries "-ltorch -ltorch_cpu -lc10")
if(LibTorch_CUDA)
  string(APPEND torch_libraries
         " -Wl,--push-state,--no-as-needed -ltorch_cuda -lc10_cuda -Wl,--pop-state")
endif()
foreach(library IN LISTS LibTorch_gomp)
  if(library MATCHES "/([^/]+)$")
    string(APPEND torch_libraries " -l:${CMAKE_MATCH_1}")
  else()
    string(APPEND torch_libraries " -l${library}")
  endif()
endforeach()
if(GENIE_ENV_HAS_CUDA)
  string(APPEND torch_libraries " -L${CUDAToolkit_LIBRARY_DIR} -lcudart")
endif()
configure_file("${PROJECT_SOURCE_DIR}/cmake/genie_env.pc.in" "${PROJECT_BINARY_DIR}/genie_env.pc" @ONLY)
install(FILES "${PROJECT_BINARY_DIR}/genie_env.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig"
        COMPONENT cpp)

include(CMakePackageConfigHelpers)
configure_package_config_file(
  "${PROJECT_SOURCE_DIR}/cmake/genie_env-config.cmake.in"
  "${PROJECT_BINARY_DIR}/genie_env-config.cmake" INSTALL_DESTINATION "${package_folder}")
write_basic_package_version_file("${PROJECT_BINARY_DIR}/genie_env-config-version.cmake"
                                 COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/genie_env-config.cmake"
              "${PROJECT_BINARY_DIR}/genie_env-config-version.cmake"
              "${PROJECT_SOURCE_DIR}/cmake/FindLibTorch.cmake"
        DESTINATION "${package_folder}" COMPONENT cpp)
