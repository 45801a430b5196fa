#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace salient::core {

/// What went wrong, coarse enough to be mapped once to exit codes, C status, Python exceptions and HTTP.
enum class ErrorKind {
  kInvalidInput,
  kNotFound,
  kUnsupported,
  kOutOfMemory,
  kDeviceLost,
  kCancelled,
  kNetwork,
  kInternal,
};

/// The one exception of Salient. Its text is one sentence for a person: it names the file and the field,
/// what was found and what was expected.
class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& sentence) : std::runtime_error(sentence), kind_(kind) {}
  ErrorKind kind() const { return kind_; }

 private:
  ErrorKind kind_;
};

/// Throws an Error of this kind with a formatted sentence.
template <typename... Args>
[[noreturn]] void fail(ErrorKind kind, fmt::format_string<Args...> format, Args&&... args) {
  throw Error(kind, fmt::format(format, std::forward<Args>(args)...));
}

/// The stable lower-case name of a kind, as logs and JSON use it: "invalid_input", "not_found", ...
const char* name_of(ErrorKind kind);

}  // namespace salient::core
