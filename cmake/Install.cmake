# `cmake --install BUILD --component cpp --prefix P` installs the library for C++ programs, which then
# say find_package(genie_env) and link genie_env::genie_env. The wheel holds it too, in the package's
# folder.
set(package_folder "${CMAKE_INSTALL_LIBDIR}/cmake/genie_env")
install(TARGETS genie_env EXPORT genie_env-targets DESTINATION "${CMAKE_INSTALL_LIBDIR}"
        COMPONENT cpp FILE_SET HEADERS DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}" COMPONENT cpp)
install(EXPORT genie_env-targets NAMESPACE genie_env:: DESTINATION "${package_folder}"
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
