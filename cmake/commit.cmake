# Writes OUTPUT, a C++ file with the commit of SOURCE, when it has changed.
execute_process(COMMAND git -C ${SOURCE} rev-parse --short=12 HEAD
                OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
if(failed)
  set(commit unknown)
endif()
file(CONFIGURE OUTPUT ${OUTPUT} @ONLY CONTENT [[
#include "api/build_commit.h"

namespace salient::api {

const char* const kBuildCommit = "@commit@";

}  // namespace salient::api
]])
