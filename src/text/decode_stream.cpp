#include "text/decode_stream.h"

#include <algorithm>
#include <array>
#include <string_view>

namespace salient::text {

namespace {

/// Open tokens that a stream decodes again with each new one. A character has at most four bytes, so more are only
/// needed where replacement characters follow each other.
constexpr size_t kMostOpenTokens = 16;

/// A decoded text without what the next tokens may still change. An unfinished character decodes to a replacement
/// character, or to one for each of its at most three bytes.
std::string_view finished_part(std::string_view text) {
  constexpr std::string_view kReplacement = "\xef\xbf\xbd";
  for (int i = 0; i < 3 && text.ends_with(kReplacement); ++i) text.remove_suffix(kReplacement.size());
  return text;
}

}  // namespace

/// The text that the open tokens add to the closed ones.
std::string DecodeStream::open_text() const {
  const std::span<const int32_t> ids(ids_);
  const std::string closed = decode(ids.first(closed_));
  const std::string text = decode(ids);
  // A bad byte turns the characters before it, which are out, into replacement characters.
  return text.starts_with(closed) ? text.substr(closed.size()) : decode(ids.subspan(closed_));
}

std::string DecodeStream::push(int32_t id) {
  if (std::find(spelled_.begin(), spelled_.end(), id) != spelled_.end()) {
    return finish() + tokenizer_->decode(std::array{id}, false);
  }
  // A token without text (a special one that is skipped, an id outside the vocabulary) changes nothing. One space may
  // be stripped, but not two.
  if (decode(std::array{id, id}).empty()) return {};
  ids_.push_back(id);
  std::string text = open_text();
  if (!text.starts_with(emitted_)) {
    // Oldest tokens were forgotten, and without their bad bytes the rest makes characters.
    ids_.assign(1, id);
    closed_ = 0;
    emitted_.clear();
    text = open_text();
  }
  const std::string_view finished = finished_part(text);
  std::string piece;
  if (finished.size() > emitted_.size()) {
    piece = finished.substr(emitted_.size());
    emitted_ = finished;
  }
  if (!text.empty() && finished.size() == text.size()) {
    ids_.erase(ids_.begin(), ids_.begin() + static_cast<int64_t>(closed_));
    closed_ = ids_.size();
    emitted_.clear();
  } else if (ids_.size() - closed_ > kMostOpenTokens) {
    forget_the_oldest();
  }
  return piece;
}

void DecodeStream::forget_the_oldest() {
  ids_.erase(ids_.begin(), ids_.end() - kMostOpenTokens / 2);
  closed_ = 0;
  const std::string text = open_text();
  emitted_ = finished_part(text);
}

std::string DecodeStream::finish() {
  const std::string text = open_text();
  const std::string piece = text.starts_with(emitted_) ? text.substr(emitted_.size()) : std::string();
  ids_.clear();
  closed_ = 0;
  emitted_.clear();
  return piece;
}

}  // namespace salient::text
