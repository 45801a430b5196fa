# Parses headers that take long once for all sources of a target. A cache of compilations does without: it knows sources
# by what they include.
function(salient_precompile target)
  if(NOT CMAKE_CXX_COMPILER_LAUNCHER)
    target_precompile_headers(${target} PRIVATE ${ARGN})
  endif()
endfunction()

# salient_layer(NAME SOURCES file... [USES layer...] [LIBRARIES target...])
# One folder under src/ is one static library, which links only the layers it may use.
function(salient_layer name)
  cmake_parse_arguments(LAYER "" "" "SOURCES;USES;LIBRARIES" ${ARGN})
  add_library(salient_${name} STATIC ${LAYER_SOURCES})
  target_include_directories(salient_${name} PUBLIC ${PROJECT_SOURCE_DIR}/src)
  list(TRANSFORM LAYER_USES PREPEND salient_)
  target_link_libraries(salient_${name} PUBLIC ${LAYER_USES} ${LAYER_LIBRARIES})
  if("nlohmann_json::nlohmann_json" IN_LIST LAYER_LIBRARIES)
    salient_precompile(salient_${name} <nlohmann/json.hpp>)
  endif()
endfunction()

# salient_test(LAYER SOURCES file... [LIBRARIES target...])
# The tests of one layer are one program; every case in it is a ctest of its own.
function(salient_test layer)
  cmake_parse_arguments(TEST "" "" "SOURCES;LIBRARIES" ${ARGN})
  add_executable(test_${layer} ${TEST_SOURCES})
  target_link_libraries(test_${layer} PRIVATE ${TEST_LIBRARIES} GTest::gtest_main)
  target_include_directories(test_${layer} PRIVATE ${PROJECT_SOURCE_DIR})
  target_compile_definitions(test_${layer} PRIVATE SALIENT_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  salient_precompile(test_${layer} <gtest/gtest.h>)
  gtest_discover_tests(test_${layer} TEST_PREFIX "${layer}." DISCOVERY_TIMEOUT 60)
endfunction()
