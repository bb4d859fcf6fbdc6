# cmake -DGIT= -DSCRIPT=cmake/Revision.cmake -DDIR= -P this: the life of a small repository in DIR.
set(tree ${DIR}/tree)
set(header ${DIR}/revision.h)

function(git)
  execute_process(
    COMMAND ${GIT} -c user.name=test -c user.email=test@localhost -c commit.gpgsign=false
            -c core.hooksPath=/dev/null ${ARGN}
    WORKING_DIRECTORY ${tree}
    OUTPUT_VARIABLE said
    OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
  set(said "${said}" PARENT_SCOPE)
endfunction()

# Run the script, with `environment` (NAME=value) if given.
function(name_revision expected)
  execute_process(COMMAND ${CMAKE_COMMAND} -E env ${ARGN} ${CMAKE_COMMAND} -DSOURCE=${tree}
                          -DHEADER=${header} -P ${SCRIPT} COMMAND_ERROR_IS_FATAL ANY)
  file(READ ${header} text)
  if(NOT text STREQUAL "#define MAG_REVISION \"${expected}\"\n")
    message(FATAL_ERROR "expected ${expected}, got ${text}")
  endif()
endfunction()

function(name_it_again expected)
  file(TIMESTAMP ${header} before "%s.%f")
  execute_process(COMMAND ${CMAKE_COMMAND} -E sleep 0.05)
  name_revision(${expected})
  file(TIMESTAMP ${header} after "%s.%f")
  if(NOT before STREQUAL after)
    message(FATAL_ERROR "${expected} has not changed, but was written anew")
  endif()
endfunction()

file(REMOVE_RECURSE ${DIR})
file(WRITE ${tree}/file "one")
name_revision("") # an exported tree
git(init --quiet)
git(add file)
git(commit --quiet --message one)
git(rev-parse --short HEAD)
set(first ${said})
name_revision(${first})
name_it_again(${first})

file(WRITE ${tree}/file "two and more")
name_revision(${first}-dirty)
git(commit --quiet --all --message two)
git(rev-parse --short HEAD)
if(said STREQUAL first)
  message(FATAL_ERROR "two commits of one name: ${first}")
endif()
name_revision(${said})
name_it_again(${said})
name_revision("" PATH=${DIR}) # no git on this machine
