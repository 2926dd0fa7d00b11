# nlohmann_json and Eigen are headers only; their PyPI packages (nlohmann-json, cmeel-eigen) put them
# beside Python's own, Debian's put them under /usr/include.
execute_process(
  COMMAND "${Python_EXECUTABLE}" -c
          "import os, site, sys, sysconfig
roots = [sysconfig.get_path('purelib'), *site.getsitepackages(), *sys.path]
print(';'.join(dict.fromkeys(r for r in roots if os.path.isdir(r))))"
  OUTPUT_VARIABLE site_packages
  OUTPUT_STRIP_TRAILING_WHITESPACE)

set(hints "")
foreach(folder IN LISTS site_packages)
  list(APPEND hints "${folder}/nlohmann_json/include" "${folder}/include"
       "${folder}/cmeel.prefix/include/eigen3" "${folder}/../../../include")
endforeach()

find_path(NLOHMANN_JSON_INCLUDE_DIR nlohmann/json.hpp HINTS ${hints} REQUIRED)
add_library(nlohmann_json::nlohmann_json INTERFACE IMPORTED)
target_include_directories(nlohmann_json::nlohmann_json SYSTEM INTERFACE "${NLOHMANN_JSON_INCLUDE_DIR}")

find_path(EIGEN_INCLUDE_DIR Eigen/Core HINTS ${hints} PATHS /usr/include/eigen3 REQUIRED)
add_library(Eigen3::Eigen INTERFACE IMPORTED)
target_include_directories(Eigen3::Eigen SYSTEM INTERFACE "${EIGEN_INCLUDE_DIR}")
