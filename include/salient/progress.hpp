#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

namespace salient {
inline namespace v1 {

/// One step of long work, reported by the library and shown by the program. `unit` is what `done`
/// counts, in the plural: "layers", "windows", "bytes". The texts live as long as the call.
struct Progress {
  std::string_view task;
  int64_t done = 0;
  int64_t total = 0;
  std::string_view unit;
  std::string_view detail;
};

using ProgressCallback = std::function<void(const Progress&)>;

}  // namespace v1
}  // namespace salient
