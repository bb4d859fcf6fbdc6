# smac_golden FILE... replays recordings of the published SMAC environment.
if(TARGET env AND TARGET base)
  add_executable(smac_golden smac_golden.c recording.c)
  target_include_directories(smac_golden PRIVATE ${CMAKE_CURRENT_SOURCE_DIR}/../../common/env)
  target_link_libraries(smac_golden PRIVATE env base build_flags PkgConfig::JANSSON m)

  # Small recordings of our own making: smac/generate.py says what each one covers.
  file(GLOB SMAC_RECORDINGS CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/smac/*.json)
  if(SMAC_RECORDINGS)
    add_test(NAME smac_golden COMMAND smac_golden ${SMAC_RECORDINGS})
    set_tests_properties(smac_golden PROPERTIES LABELS golden TIMEOUT 60)
    add_test(
      NAME smac_golden_sweep
      COMMAND
        ${CMAKE_COMMAND} -DPYTHON=/usr/bin/python3 -DTOOL=$<TARGET_FILE:smac_golden>
        -DGENERATE=${CMAKE_CURRENT_SOURCE_DIR}/smac/generate.py -DCOUNT=69
        -DDIR=${CMAKE_CURRENT_BINARY_DIR}/smac_sweep -P
        ${CMAKE_CURRENT_SOURCE_DIR}/smac_sweep.cmake)
    set_tests_properties(smac_golden_sweep PROPERTIES LABELS golden TIMEOUT 180)
    add_test(
      NAME smac_golden_damage
      COMMAND
        ${CMAKE_COMMAND} -DTOOL=$<TARGET_FILE:smac_golden>
        -DGOOD=${CMAKE_CURRENT_SOURCE_DIR}/smac/sparse.json
        -DDIR=${CMAKE_CURRENT_BINARY_DIR}/smac_damage -P
        ${CMAKE_CURRENT_SOURCE_DIR}/smac_damage.cmake)
    set_tests_properties(smac_golden_damage PROPERTIES LABELS golden TIMEOUT 60)
  endif()
endif()
