# Rooms.cmake - one folder, one static library.
#
# Only <room>/include is visible to other rooms, so including a header of a room that is not
# in DEPS fails to compile: the direction of dependency checks itself.

add_library(build_flags INTERFACE)
target_compile_definitions(build_flags INTERFACE _GNU_SOURCE)
target_compile_options(
  build_flags
  INTERFACE -ffp-contract=off
            -fno-omit-frame-pointer
            -fno-math-errno
            -Wall
            -Wextra
            -Wshadow
            -Wconversion
            -Wvla
            -Wformat=2
            -Wstrict-prototypes
            -Wmissing-prototypes
            -Wundef
            -Wcast-qual)
if(MAG_WERROR)
  target_compile_options(build_flags INTERFACE -Werror)
endif()
if(MAG_SANITIZE)
  target_compile_options(build_flags INTERFACE -fsanitize=${MAG_SANITIZE}
                                               -fno-sanitize-recover=all)
  target_link_options(build_flags INTERFACE -fsanitize=${MAG_SANITIZE})
endif()
if(MAG_COVERAGE)
  target_compile_options(build_flags INTERFACE --coverage)
  target_link_options(build_flags INTERFACE --coverage)
endif()

# add_room(name SOURCES a.c b.c DEPS other_rooms LIBS external_libraries)
#
# DEPS are visible to the room's users through its headers; LIBS are the room's own business.
function(add_room name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS;LIBS" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  target_include_directories(${name} PUBLIC include PRIVATE .)
  target_link_libraries(
    ${name}
    PUBLIC ${ARG_DEPS}
    PRIVATE build_flags ${ARG_LIBS})
endfunction()

# add_unit_test(name SOURCES test_x.c DEPS rooms [LABELS l] [TIMEOUT s]) - one program of the check library, registered
# with ctest. Data files are found through MAG_TEST_DATA, the absolute path of tests/.
function(add_unit_test name)
  cmake_parse_arguments(ARG "" "TIMEOUT" "SOURCES;DEPS;LABELS" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 300)
  endif()
  add_executable(${name} ${ARG_SOURCES})
  target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR}/tests/support)
  target_compile_definitions(${name} PRIVATE MAG_TEST_DATA="${CMAKE_SOURCE_DIR}/tests")
  target_link_libraries(${name} PRIVATE ${ARG_DEPS} build_flags PkgConfig::CHECK m)
  add_test(NAME ${name} COMMAND ${name})
  # check's own limit of 4 s a test is for idle machines; ctest's TIMEOUT is the one that counts.
  set_tests_properties(
    ${name} PROPERTIES TIMEOUT ${ARG_TIMEOUT} LABELS "unit;${ARG_LABELS}"
                       ENVIRONMENT "CK_DEFAULT_TIMEOUT=${ARG_TIMEOUT}")
endfunction()
