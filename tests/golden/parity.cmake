# parity_case replays a recorded case with the code that trains, parity_compare judges.
add_executable(parity_case ${CMAKE_CURRENT_LIST_DIR}/parity_case.c
                           ${CMAKE_CURRENT_LIST_DIR}/parity_model.c
                           ${CMAKE_CURRENT_LIST_DIR}/parity_imagine.c)
target_link_libraries(parity_case PRIVATE algo model nn rl base par build_flags m)

# The cases look at what lies between: h, logits, labels.
target_include_directories(parity_case PRIVATE ${CMAKE_SOURCE_DIR}/common/algo/mag)

add_executable(parity_compare ${CMAKE_CURRENT_LIST_DIR}/compare.c)
target_link_libraries(parity_compare PRIVATE base build_flags m)

file(GLOB PARITY_INPUTS CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/mag/*.in.safetensors)
foreach(input ${PARITY_INPUTS})
  string(REGEX REPLACE "\\.in\\.safetensors$" "" stem ${input})
  get_filename_component(name ${stem} NAME)
  add_test(
    NAME parity_${name}
    COMMAND
      ${CMAKE_COMMAND} -DCASE=$<TARGET_FILE:parity_case> -DCOMPARE=$<TARGET_FILE:parity_compare>
      -DINPUT=${input} -DEXPECTED=${stem}.out.safetensors
      -DMINE=${CMAKE_CURRENT_BINARY_DIR}/${name}.mine.safetensors -P
      ${CMAKE_CURRENT_LIST_DIR}/parity_run.cmake)
  set_tests_properties(parity_${name} PROPERTIES TIMEOUT 120 LABELS golden)
endforeach()
