#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "core/error.h"

namespace salient::tests {

/// Calls `function`, which must throw an Error of this kind whose sentence holds each of `parts`.
template <typename Function>
void expect_error(core::ErrorKind kind, const std::vector<std::string>& parts, Function&& function) {
  try {
    function();
  } catch (const core::Error& error) {
    const std::string sentence = error.what();
    EXPECT_STREQ(core::name_of(error.kind()), core::name_of(kind)) << sentence;
    for (const std::string& part : parts) {
      EXPECT_NE(sentence.find(part), std::string::npos) << "\"" << part << "\" is not in \"" << sentence << "\"";
    }
    return;
  }
  ADD_FAILURE() << "no error, where one was expected that names \"" << (parts.empty() ? "" : parts.front()) << "\"";
}

}  // namespace salient::tests
