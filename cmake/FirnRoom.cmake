# One room of src/ is one static library, one namespace and one test binary.
#
#   firn_room(async SOURCES a.cc b.cc TESTS a_test.cc DEPS base PRIVATE_LIBS uring)
#
# gives the target firn_async and, with FIRN_TESTS, the GoogleTest binary
# async_test, registered with CTest as one test per binary (label "unit").
# DEPS are rooms; LIBS are public and PRIVATE_LIBS private outside libraries. A room in a folder of
# its own kind is named with an underscore: src/drivers/qcow2 is firn_room(drivers_qcow2 ...).
#
# With FIRN_TESTS each room also gives firn_<name>_sim, the same sources with the canaries of
# base/canary.h in them. Only what tests/sim links of these is built; no product links one.

add_library(firn_flags INTERFACE)
target_compile_options(firn_flags INTERFACE
  -Wall -Wextra -Wno-missing-designated-field-initializers -Wnon-virtual-dtor -Woverloaded-virtual -Wimplicit-fallthrough
  -Werror=return-type -Werror=unused-result -fno-omit-frame-pointer -fstack-protector-strong)
target_compile_definitions(firn_flags INTERFACE _GNU_SOURCE)
target_include_directories(firn_flags INTERFACE ${CMAKE_SOURCE_DIR}/src ${CMAKE_BINARY_DIR}/generated)
target_link_options(firn_flags INTERFACE -fuse-ld=mold)

set(CMAKE_CXX_FLAGS_RELEASE "-O2 -g1 -D_FORTIFY_SOURCE=2 -D_GLIBCXX_ASSERTIONS")
set(CMAKE_CXX_FLAGS_DEBUG "-O0 -g -D_GLIBCXX_ASSERTIONS")
set(CMAKE_CXX_FLAGS_SANITIZE "-O1 -g1 -D_GLIBCXX_ASSERTIONS")

set(FIRN_SANITIZE "" CACHE STRING "Sanitizers to build with, for instance address,undefined")
if(FIRN_SANITIZE)
  target_compile_options(firn_flags INTERFACE
    -fsanitize=${FIRN_SANITIZE} -fno-sanitize-recover=all -fno-sanitize=function,vptr)
  target_link_options(firn_flags INTERFACE -fsanitize=${FIRN_SANITIZE})
else()
  target_link_options(firn_flags INTERFACE -pie -Wl,-z,relro,-z,now)
endif()
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

if(FIRN_TESTS)
  find_package(GTest REQUIRED)
  include(FirnTest)
endif()

# firn_<name>_sim. Reads the variables of firn_room, which calls it. A room below that has no such
# variant (generated code) serves as it is.
function(firn_sim_room name)
  set(rooms "")
  foreach(room IN LISTS ROOM_DEPS)
    list(APPEND rooms $<IF:$<TARGET_EXISTS:firn_${room}_sim>,firn_${room}_sim,firn_${room}>)
  endforeach()
  if(ROOM_SOURCES)
    add_library(firn_${name}_sim STATIC EXCLUDE_FROM_ALL ${ROOM_SOURCES})
    target_link_libraries(firn_${name}_sim
      PUBLIC firn_flags ${rooms} ${ROOM_LIBS} PRIVATE ${ROOM_PRIVATE_LIBS})
    target_compile_definitions(firn_${name}_sim PUBLIC FIRN_CANARIES)
  else()
    add_library(firn_${name}_sim INTERFACE)
    target_link_libraries(firn_${name}_sim INTERFACE firn_flags ${rooms} ${ROOM_LIBS})
    target_compile_definitions(firn_${name}_sim INTERFACE FIRN_CANARIES)
  endif()
endfunction()

function(firn_room name)
  cmake_parse_arguments(ROOM "" "" "SOURCES;TESTS;DEPS;LIBS;PRIVATE_LIBS;TEST_DEPS" ${ARGN})
  set(rooms ${ROOM_DEPS})
  list(TRANSFORM rooms PREPEND firn_)
  if(ROOM_SOURCES)
    add_library(firn_${name} STATIC ${ROOM_SOURCES})
    target_link_libraries(firn_${name}
      PUBLIC firn_flags ${rooms} ${ROOM_LIBS} PRIVATE ${ROOM_PRIVATE_LIBS})
  else()
    add_library(firn_${name} INTERFACE)
    target_link_libraries(firn_${name} INTERFACE firn_flags ${rooms} ${ROOM_LIBS})
  endif()
  if(FIRN_TESTS)
    firn_sim_room(${name})
  endif()
  if(FIRN_TESTS AND ROOM_TESTS)
    set(test_rooms ${ROOM_TEST_DEPS})
    list(TRANSFORM test_rooms PREPEND firn_)
    add_executable(${name}_test ${ROOM_TESTS})
    target_link_libraries(${name}_test
      PRIVATE firn_${name} ${test_rooms} GTest::gtest GTest::gmock GTest::gtest_main)
    set_target_properties(${name}_test PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
    firn_add_test(unit.${name} LABEL unit COMMAND ${name}_test)
    set_property(GLOBAL APPEND PROPERTY FIRN_UNIT_TESTS ${name}_test)
  endif()
endfunction()
