#pragma once

#include <stdexcept>
#include <string>

#include "salient/visibility.hpp"

/// Names that a program links to carry the version of the binary interface; in source it is not seen.
namespace salient {
inline namespace v1 {

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
class SALIENT_API Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& sentence);
  ~Error() override;
  ErrorKind kind() const noexcept { return kind_; }

 private:
  ErrorKind kind_;
};

}  // namespace v1
}  // namespace salient
