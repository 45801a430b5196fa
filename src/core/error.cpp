#include "core/error.h"

namespace salient {
inline namespace v1 {

Error::Error(ErrorKind kind, const std::string& sentence) : std::runtime_error(sentence), kind_(kind) {}
Error::~Error() = default;

}  // namespace v1
}  // namespace salient

namespace salient::core {

const char* name_of(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kInvalidInput:
      return "invalid_input";
    case ErrorKind::kNotFound:
      return "not_found";
    case ErrorKind::kUnsupported:
      return "unsupported";
    case ErrorKind::kOutOfMemory:
      return "out_of_memory";
    case ErrorKind::kDeviceLost:
      return "device_lost";
    case ErrorKind::kCancelled:
      return "cancelled";
    case ErrorKind::kNetwork:
      return "network";
    case ErrorKind::kInternal:
      return "internal";
  }
  return "internal";
}

}  // namespace salient::core
