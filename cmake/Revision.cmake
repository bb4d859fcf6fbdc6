# Names the commit that is being built: cmake -DSOURCE=tree -DHEADER=revision.h -P this.
#
# Runs in every build. Writes HEADER only when it would change, so that nothing is compiled anew
# otherwise. The revision is empty in a tree without .git of its own (a release, the image's build)
# and where git is missing or refuses.
set(revision "")
if(EXISTS ${SOURCE}/.git)
  execute_process(
    COMMAND git describe --always --dirty
    WORKING_DIRECTORY ${SOURCE}
    OUTPUT_VARIABLE revision
    OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
endif()
set(text "#define MAG_REVISION \"${revision}\"\n")
set(old "")
if(EXISTS ${HEADER})
  file(READ ${HEADER} old)
endif()
if(NOT text STREQUAL old)
  file(WRITE ${HEADER} "${text}")
endif()
