#pragma once

#include <cstring>
#include <string>
#include <type_traits>

#include "core/error.h"
#include "core/mapped_file.h"

namespace salient::checkpoint {

/// Reads little-endian numbers and strings from a mapped file, one after the other. Every read is checked against the
/// end of the file; `what` names in the error what was being read.
class GgufReader {
 public:
  explicit GgufReader(const core::MappedFile& file) : file_(file) {}

  uint64_t position() const { return position_; }
  uint64_t left() const { return file_.bytes().size() - position_; }

  template <typename T>
  T number(const char* what) {
    static_assert(std::is_arithmetic_v<T>);
    T value;
    require(sizeof value, what);
    std::memcpy(&value, file_.bytes().data() + position_, sizeof value);
    position_ += sizeof value;
    return value;
  }

  std::string string(const char* what) {
    const auto size = number<uint64_t>(what);
    require(size, what);
    std::string text(reinterpret_cast<const char*>(file_.bytes().data() + position_), size);
    position_ += size;
    return text;
  }

  /// A number of things that each take at least `least_bytes` of what is left.
  uint64_t count(const char* what, uint64_t least_bytes) {
    const auto value = number<uint64_t>(what);
    if (value > left() / least_bytes) {
      core::fail(core::ErrorKind::kInvalidInput,
                 "{}: its {} is {}, but only {} bytes follow: it is truncated or corrupt", name(), what, value, left());
    }
    return value;
  }

  std::string name() const { return file_.path().string(); }

 private:
  void require(uint64_t bytes, const char* what) const {
    if (bytes > left()) {
      core::fail(core::ErrorKind::kInvalidInput,
                 "{}: ends inside {}: at byte {} it needs {} bytes and has {}: it is truncated or corrupt", name(),
                 what, position_, bytes, left());
    }
  }

  const core::MappedFile& file_;
  uint64_t position_ = 0;
};

}  // namespace salient::checkpoint
