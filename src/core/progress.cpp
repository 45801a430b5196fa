#include "core/progress.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

namespace salient::core {

namespace {

/// Work goes on when nobody can see how far it is.
void show(const std::string& text) {
  std::fputs(text.c_str(), stderr);
  std::fflush(stderr);
}

}  // namespace

ProgressPrinter::ProgressPrinter(bool terminal) : terminal_(terminal) {}

ProgressPrinter::~ProgressPrinter() {
  finish();
}

void ProgressPrinter::operator()(const Progress& progress) {
  const auto now = Clock::now();
  const bool new_task = progress.task != task_;
  if (new_task) {
    finish();
    task_ = progress.task;
    task_start_ = now;
    done_at_start_ = progress.done;
  }
  const bool last = progress.done >= progress.total;
  const auto interval = terminal_ ? std::chrono::milliseconds(100) : std::chrono::milliseconds(10000);
  if (!new_task && !last && now - last_shown_ < interval) return;
  last_shown_ = now;

  const double elapsed = std::chrono::duration<double>(now - task_start_).count();
  const auto finished = static_cast<double>(progress.done - done_at_start_);
  const double rate = elapsed > 0 ? finished / elapsed : 0;
  std::string text = fmt::format("{} {}/{} {}", progress.task, progress.done, progress.total, progress.unit);
  if (rate > 0) {
    const double left = static_cast<double>(progress.total - progress.done) / rate;
    text += fmt::format(", {:.3g} {}/s, {} {}", rate, progress.unit, format_duration(last ? elapsed : left),
                        last ? "in all" : "left");
  }
  if (!progress.detail.empty()) text += fmt::format(", {}", progress.detail);
  if (terminal_) {
    constexpr int kBarWidth = 24;
    const int64_t total = std::max<int64_t>(progress.total, 1);
    const auto filled = static_cast<int>(kBarWidth * std::min(progress.done, total) / total);
    show(fmt::format("\r\x1b[K[{:=<{}}{: <{}}] {}", "", filled, "", kBarWidth - filled, text));
    line_open_ = true;
    if (last) finish();
  } else {
    show(text + "\n");
  }
}

void ProgressPrinter::finish() {
  if (line_open_) show("\n");
  line_open_ = false;
}

std::string format_bytes(uint64_t bytes) {
  const auto value = static_cast<double>(bytes);
  if (bytes >= 1ull << 30) return fmt::format("{:.2f} GiB", value / (1ull << 30));
  if (bytes >= 1ull << 20) return fmt::format("{:.1f} MiB", value / (1ull << 20));
  if (bytes >= 1ull << 10) return fmt::format("{:.1f} KiB", value / (1ull << 10));
  return fmt::format("{} bytes", bytes);
}

std::string format_duration(double seconds) {
  const auto whole = static_cast<int64_t>(seconds + 0.5);
  if (whole >= 3600) return fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60);
  return fmt::format("{}:{:02}", whole / 60, whole % 60);
}

}  // namespace salient::core
