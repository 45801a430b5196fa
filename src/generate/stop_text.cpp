#include "generate/stop_text.h"

#include <algorithm>
#include <utility>

#include "core/error.h"

namespace salient::generate {

namespace {

/// The length of the longest end of `text` that begins `stop` without being all of it.
size_t begun(std::string_view text, std::string_view stop) {
  for (size_t size = std::min(text.size(), stop.size() - 1); size > 0; --size) {
    if (text.ends_with(stop.substr(0, size))) return size;
  }
  return 0;
}

}  // namespace

StopText::StopText(std::vector<std::string> stops) : stops_(std::move(stops)) {
  for (const std::string& stop : stops_) {
    if (stop.empty()) core::fail(core::ErrorKind::kInvalidInput, "a stop string is empty");
  }
}

std::string StopText::push(std::string_view piece) {
  if (stopped_) return {};
  held_ += piece;
  size_t first = std::string::npos;
  size_t open = 0;
  for (const std::string& stop : stops_) {
    first = std::min(first, held_.find(stop));
    open = std::max(open, begun(held_, stop));
  }
  stopped_ = first != std::string::npos;
  std::string certain = held_.substr(0, stopped_ ? first : held_.size() - open);
  held_.erase(0, stopped_ ? held_.size() : certain.size());
  return certain;
}

std::string StopText::finish() {
  return std::exchange(held_, {});
}

}  // namespace salient::generate
