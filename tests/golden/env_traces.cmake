# env_traces: the battle engine plays what it played when env_traces.txt was printed, with every
# compiler, level of optimisation and sanitizer; env_same_traces builds it in six ways at once.
if(TARGET env AND TARGET base)
  add_executable(env_traces env_traces.c)
  target_link_libraries(env_traces PRIVATE env base build_flags m)
  if(EXISTS ${CMAKE_CURRENT_SOURCE_DIR}/env_traces.txt)
    add_test(NAME env_traces COMMAND env_traces --check
                                     ${CMAKE_CURRENT_SOURCE_DIR}/env_traces.txt)
    set_tests_properties(env_traces PROPERTIES LABELS golden TIMEOUT 300)
  endif()
  # 100 000 random steps over all maps: for the sanitizers' presets.
  add_test(NAME env_random_steps COMMAND env_traces --mode plain --steps 4348)
  set_tests_properties(env_random_steps PROPERTIES LABELS golden TIMEOUT 600)
endif()
