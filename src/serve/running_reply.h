#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>

#include "serve/chat_store.h"

namespace salient::serve {

/// How far a prompt has been read, in tokens.
struct PromptProgress {
  int64_t processed = 0;
  int64_t total = 0;
  bool operator==(const PromptProgress&) const = default;
};

/// A reply while it is written, for those who follow it. They come and go; it does not wait for them. May be used from
/// any thread.
class RunningReply {
 public:
  /// What a follower has not seen yet.
  struct News {
    std::string content;
    std::string reasoning;
    std::optional<PromptProgress> progress;
    std::optional<ChatMessage> ended;  ///< the whole message, once nothing will be added
  };

  /// A message that is not being written is a reply that has ended.
  explicit RunningReply(ChatMessage message);

  ChatMessage message() const;
  void grow(const std::string& content, const std::string& reasoning);
  void set_progress(PromptProgress progress);
  /// Nothing is added from now on.
  void end(ChatMessage message);

  /// What there is from these bytes on. Throws a Refusal when the content's place is inside of a character, or behind
  /// the end of a reply that is still written.
  News since(size_t content, size_t reasoning) const;

  /// `wake` is called, from any thread, when there is something new, and not after `leave`. The reply is locked then:
  /// it must not be asked, nor a lock taken that is held where it is. Returns what to leave with.
  int64_t follow(std::function<void()> wake);
  void leave(int64_t follower);

 private:
  void wake_all();

  mutable std::mutex mutex_;
  ChatMessage message_;
  std::optional<PromptProgress> progress_;
  std::map<int64_t, std::function<void()>> followers_;
  int64_t next_follower_ = 0;
};

}  // namespace salient::serve
