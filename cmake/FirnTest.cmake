# firn_add_test(NAME LABEL label [TIMEOUT seconds] COMMAND ...) registers a test with CTest. The test
# writes a report of its cases, in GoogleTest's JSON form, to where GTEST_OUTPUT says; ./dev test
# counts them there.
function(firn_add_test name)
  cmake_parse_arguments(TEST "" "LABEL;TIMEOUT" "COMMAND;ENVIRONMENT" ${ARGN})
  if(NOT TEST_TIMEOUT)
    set(TEST_TIMEOUT 300)
  endif()
  add_test(NAME ${name} COMMAND ${TEST_COMMAND})
  set_tests_properties(${name} PROPERTIES
    LABELS ${TEST_LABEL}
    TIMEOUT ${TEST_TIMEOUT}
    ENVIRONMENT "GTEST_OUTPUT=json:${CMAKE_BINARY_DIR}/test-results/${name}.json;${TEST_ENVIRONMENT}")
endfunction()
