# lbf_golden FILE... replays recordings of the published Level-Based Foraging.
if(TARGET env AND TARGET base)
  add_executable(lbf_golden lbf_golden.c recording.c)
  target_link_libraries(lbf_golden PRIVATE env base build_flags PkgConfig::JANSSON)

  # Small recordings of our own making: lbf/generate.py says what each one covers.
  file(GLOB LBF_RECORDINGS CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/lbf/*.json)
  if(LBF_RECORDINGS)
    add_test(NAME lbf_golden COMMAND lbf_golden ${LBF_RECORDINGS})
    set_tests_properties(lbf_golden PROPERTIES LABELS golden TIMEOUT 60)
    add_test(
      NAME lbf_golden_damage
      COMMAND
        ${CMAKE_COMMAND} -DTOOL=$<TARGET_FILE:lbf_golden>
        -DGOOD=${CMAKE_CURRENT_SOURCE_DIR}/lbf/hidden_levels.json
        -DDIR=${CMAKE_CURRENT_BINARY_DIR}/lbf_damage -P
        ${CMAKE_CURRENT_SOURCE_DIR}/lbf_damage.cmake)
    set_tests_properties(lbf_golden_damage PROPERTIES LABELS golden TIMEOUT 60)
  endif()
endif()
