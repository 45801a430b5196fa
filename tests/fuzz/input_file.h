#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>

namespace salient::tests {

/// A fuzzer's bytes as a file, in memory: the parsers map files.
class InputFile {
 public:
  InputFile(const uint8_t* data, size_t size) : handle_(::memfd_create("input", MFD_CLOEXEC)) {
    if (handle_ < 0 || ::write(handle_, data, size) != static_cast<ssize_t>(size)) std::abort();
  }
  ~InputFile() { ::close(handle_); }
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;
  std::filesystem::path path() const { return "/proc/self/fd/" + std::to_string(handle_); }

 private:
  int handle_;
};

}  // namespace salient::tests
