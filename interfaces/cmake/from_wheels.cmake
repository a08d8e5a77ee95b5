# Copyright 2026 nurec_ros contributors
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.
# Builds an interface package against the ROS 2 wheels of PyPI.
#
# Usage, after project():
#   include(../cmake/from_wheels.cmake)
#   nurec_interface_package(FILES msg/A.msg ... DEPENDENCIES geometry_msgs ...)

# The wheels install below the prefix of the Python that builds this.
if(DEFINED Python3_EXECUTABLE)
  execute_process(
    COMMAND "${Python3_EXECUTABLE}" -c "import sys; print(sys.prefix)"
    OUTPUT_VARIABLE _python_prefix OUTPUT_STRIP_TRAILING_WHITESPACE)
  list(APPEND CMAKE_PREFIX_PATH "${_python_prefix}")
endif()

# ament looks packages up in AMENT_PREFIX_PATH, which the wheels do not set.
if("$ENV{AMENT_PREFIX_PATH}" STREQUAL "")
  find_package(ament_cmake_core REQUIRED)
  get_filename_component(_prefix "${ament_cmake_core_DIR}/../../.." ABSOLUTE)
  set(ENV{AMENT_PREFIX_PATH} "${_prefix}")
endif()

# The wheels' exported targets name include folders of the container that built them; CMake refuses
# targets whose include folders do not exist.
function(_drop_missing_include_dirs)
  get_property(_targets DIRECTORY PROPERTY IMPORTED_TARGETS)
  foreach(_target IN LISTS _targets)
    get_target_property(_dirs ${_target} INTERFACE_INCLUDE_DIRECTORIES)
    if(_dirs)
      list(FILTER _dirs EXCLUDE REGEX "^/opt/python/")
      set_target_properties(${_target} PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${_dirs}")
    endif()
  endforeach()
endfunction()

macro(nurec_interface_package)
  cmake_parse_arguments(_arg "" "" "FILES;DEPENDENCIES" ${ARGN})
  find_package(ament_cmake REQUIRED)
  find_package(rosidl_default_generators REQUIRED)
  foreach(_dependency IN LISTS _arg_DEPENDENCIES)
    find_package(${_dependency} REQUIRED)
  endforeach()
  if(_arg_DEPENDENCIES)
    set(_dependencies DEPENDENCIES ${_arg_DEPENDENCIES})
  endif()
  rosidl_generate_interfaces(${PROJECT_NAME} ${_arg_FILES} ${_dependencies})
  ament_export_dependencies(rosidl_default_runtime)
  ament_package()
  cmake_language(DEFER CALL _drop_missing_include_dirs)
endmacro()
