#include "serve/running_reply.h"

#include <fmt/format.h>

#include <utility>

#include "serve/failure.h"

namespace salient::serve {

namespace {

/// The rest of a text; `name` is the parameter at fault.
std::string rest_of(const std::string& text, size_t from, bool is_whole, const char* name) {
  if (from >= text.size()) {
    if (from == text.size() || is_whole) return {};
    throw Refusal(400, fmt::format("{} is {}, but the reply has {} bytes so far", name, from, text.size()), name);
  }
  constexpr unsigned char kTopBits = 0xC0;
  constexpr unsigned char kContinuation = 0x80;
  if ((static_cast<unsigned char>(text[from]) & kTopBits) == kContinuation) {
    throw Refusal(400, fmt::format("{} is {}, which is in the middle of a character", name, from), name);
  }
  return text.substr(from);
}

}  // namespace

RunningReply::RunningReply(ChatMessage message) : message_(std::move(message)) {}

ChatMessage RunningReply::message() const {
  const std::lock_guard lock(mutex_);
  return message_;
}

void RunningReply::grow(const std::string& content, const std::string& reasoning) {
  const std::lock_guard lock(mutex_);
  message_.content += content;
  message_.reasoning += reasoning;
  wake_all();
}

void RunningReply::set_progress(PromptProgress progress) {
  const std::lock_guard lock(mutex_);
  progress_ = progress;
  wake_all();
}

void RunningReply::end(ChatMessage message) {
  const std::lock_guard lock(mutex_);
  message_ = std::move(message);
  wake_all();
}

void RunningReply::wake_all() {
  for (const auto& [follower, wake] : followers_) wake();
}

RunningReply::News RunningReply::since(size_t content, size_t reasoning) const {
  const std::lock_guard lock(mutex_);
  const bool is_whole = message_.state != "writing";
  News news;
  news.content = rest_of(message_.content, content, is_whole, "from");
  news.reasoning = rest_of(message_.reasoning, reasoning, is_whole, "reasoning_from");
  const bool is_reading = message_.content.empty() && message_.reasoning.empty();
  if (is_reading && !is_whole) news.progress = progress_;
  if (is_whole) news.ended = message_;
  return news;
}

int64_t RunningReply::follow(std::function<void()> wake) {
  const std::lock_guard lock(mutex_);
  followers_[next_follower_] = std::move(wake);
  return next_follower_++;
}

void RunningReply::leave(int64_t follower) {
  const std::lock_guard lock(mutex_);
  followers_.erase(follower);
}

}  // namespace salient::serve
