#pragma once

#include <chrono>
#include <cstdint>
#include <salient/progress.hpp>
#include <string>

namespace salient::core {

using salient::Progress;
using salient::ProgressCallback;

/// Turns reports into text: on a terminal one line redrawn in place with a bar, rate and time left; else a
/// plain line at the start, at most every ten seconds, and at the end. Writes to standard error.
class ProgressPrinter {
 public:
  explicit ProgressPrinter(bool terminal);
  ~ProgressPrinter();
  void operator()(const Progress& progress);
  /// Ends the redrawn line, so that other output starts on a fresh one.
  void finish();

 private:
  using Clock = std::chrono::steady_clock;
  bool terminal_;
  bool line_open_ = false;
  std::string task_;
  Clock::time_point task_start_;
  Clock::time_point last_shown_;
  int64_t done_at_start_ = 0;
};

/// "1.50 GiB", "932.0 MiB", "12.5 KiB", "17 bytes": bytes for a person.
std::string format_bytes(uint64_t bytes);
/// "1:02:03", "4:05": seconds for a person.
std::string format_duration(double seconds);

}  // namespace salient::core
