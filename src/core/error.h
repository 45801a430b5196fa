#pragma once

#include <fmt/format.h>

#include <salient/error.hpp>
#include <utility>

namespace salient::core {

using salient::Error;
using salient::ErrorKind;

/// Throws an Error of this kind with a formatted sentence.
template <typename... Args>
[[noreturn]] void fail(ErrorKind kind, fmt::format_string<Args...> format, Args&&... args) {
  throw Error(kind, fmt::format(format, std::forward<Args>(args)...));
}

/// The stable lower-case name of a kind, as logs and JSON use it: "invalid_input", "not_found", ...
const char* name_of(ErrorKind kind);

}  // namespace salient::core
