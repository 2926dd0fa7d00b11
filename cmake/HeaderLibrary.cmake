# add_header_library(<package> <header> <PyPI requirement> <Debian package>)
#
# Defines the interface library genie_env_<package> for a package that is headers only, from its PyPI
# package (beside Python's own packages) or the system. (A project around this one may have a target
# <package> of its own.) The headers are copied into the build folder: pip builds in
# an environment that is gone afterwards, and the objects of a kept build folder stay valid.
function(add_header_library package header requirement debian_package)
  set(copy "${genie_env_BINARY_DIR}/headers/${package}")
  if(NOT EXISTS "${copy}/${header}")
    execute_process(
      COMMAND "${Python_EXECUTABLE}" -c
              "import sys, sysconfig; print(';'.join([*sys.path, sysconfig.get_path('purelib')]))"
      OUTPUT_VARIABLE site_packages
      OUTPUT_STRIP_TRAILING_WHITESPACE)
    set(hints "")
    foreach(folder IN LISTS site_packages)
      list(APPEND hints "${folder}/${package}/include" "${folder}/cmeel.prefix/include/eigen3")
    endforeach()
    find_path(found "${header}" HINTS ${hints} PATH_SUFFIXES eigen3 NO_CACHE)
    if(NOT found)
      message(FATAL_ERROR "${header} was not found. Install it for ${Python_EXECUTABLE} "
                          "(pip install '${requirement}') or for the system "
                          "(apt-get install ${debian_package}).")
    endif()
    get_filename_component(folder "${header}" DIRECTORY)
    file(COPY "${found}/${folder}" DESTINATION "${copy}")
  endif()
  add_library(genie_env_${package} INTERFACE)
  target_include_directories(genie_env_${package} SYSTEM INTERFACE "${copy}")
endfunction()
