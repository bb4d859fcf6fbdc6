# One recorded case: compute, then compare.
execute_process(COMMAND ${CASE} ${INPUT} ${MINE} RESULT_VARIABLE result)
if(NOT result EQUAL 0)
  message(FATAL_ERROR "parity_case failed: ${result}")
endif()
execute_process(COMMAND ${COMPARE} ${EXPECTED} ${MINE} RESULT_VARIABLE result)
if(NOT result EQUAL 0)
  message(FATAL_ERROR "outputs differ from the recording")
endif()
