#include "serve/thought_splitter.h"

#include <algorithm>
#include <utility>

namespace salient::serve {

namespace {

constexpr std::string_view kOpen = "<think>";
constexpr std::string_view kClose = "</think>";
constexpr std::string_view kSpace = " \t\r\n";

}  // namespace

size_t open_end(std::string_view text, std::string_view mark) {
  size_t size = std::min(text.size(), mark.size());
  while (size > 0 && !mark.starts_with(text.substr(text.size() - size))) --size;
  const size_t last = text.substr(0, text.size() - size).find_last_not_of(kSpace);
  return text.size() - (last == std::string_view::npos ? 0 : last + 1);
}

ThoughtSplitter::ThoughtSplitter(bool begins_inside) : place_(begins_inside ? Place::kThought : Place::kBefore) {}

void ThoughtSplitter::skip_space() {
  held_.erase(0, std::min(held_.find_first_not_of(kSpace), held_.size()));
}

/// Whether the reply begins with a thought, once that is certain; false while it is not.
bool ThoughtSplitter::begin() {
  const size_t start = std::min(held_.find_first_not_of(kSpace), held_.size());
  const std::string_view text = std::string_view(held_).substr(start);
  if (text.size() < kOpen.size() && kOpen.starts_with(text)) return false;
  if (!text.starts_with(kOpen)) {
    place_ = Place::kAnswer;
    return true;
  }
  held_.erase(0, start + kOpen.size());
  place_ = Place::kThought;
  return true;
}

/// Hands out the thought as far as it is certain; true when it ends.
bool ThoughtSplitter::think(Parts& parts) {
  if (!has_thought_) skip_space();
  const size_t end = held_.find(kClose);
  const size_t size = end == std::string::npos ? held_.size() - open_end(held_, kClose)
                                               : end - open_end(std::string_view(held_).substr(0, end), "");
  parts.thought += held_.substr(0, size);
  has_thought_ |= size > 0;
  held_.erase(0, end == std::string::npos ? size : end + kClose.size());
  if (end != std::string::npos) place_ = Place::kBehind;
  return end != std::string::npos;
}

/// Goes from one place to the next; false when more has to arrive first.
bool ThoughtSplitter::go_on(Parts& parts) {
  switch (place_) {
    case Place::kBefore:
      return begin();
    case Place::kThought:
      return think(parts);
    case Place::kBehind:
      skip_space();
      if (!held_.empty()) place_ = Place::kAnswer;
      return !held_.empty();
    case Place::kAnswer:
      parts.answer += std::exchange(held_, {});
      break;
  }
  return false;
}

ThoughtSplitter::Parts ThoughtSplitter::push(std::string_view piece) {
  held_ += piece;
  Parts parts;
  while (go_on(parts)) {
  }
  return parts;
}

ThoughtSplitter::Parts ThoughtSplitter::finish() {
  if (place_ == Place::kThought) return {std::exchange(held_, {}), {}};
  return {{}, std::exchange(held_, {})};
}

}  // namespace salient::serve
