#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>

#include "generate/scheduler.h"

namespace salient::serve {

/// Takes the updates of an answer's replies from the engine's thread to the one that sends them. What a slow reader has
/// not fetched is joined, so that it is never more than the rest of the reply.
class Mailbox {
 public:
  explicit Mailbox(std::function<void()> wake) : wake_(std::move(wake)) {}

  void put(size_t reply, generate::ReplyUpdate update);
  /// What came since the last time, by reply.
  std::map<size_t, generate::ReplyUpdate> take();

 private:
  std::function<void()> wake_;
  std::mutex mutex_;
  std::map<size_t, generate::ReplyUpdate> updates_;
};

/// Throws what a reply has failed with; a Refusal (503) where it was cancelled, which only a server that shuts down
/// does to one whose reader is there.
void throw_failure(const generate::ReplyUpdate& update);

}  // namespace salient::serve
