#pragma once

namespace salient::api {

/// The commit that was built, which every build looks up.
extern const char* const kBuildCommit;

}  // namespace salient::api
