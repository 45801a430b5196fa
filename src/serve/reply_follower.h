#pragma once

#include <memory>

#include "serve/http.h"
#include "serve/running_reply.h"

namespace salient::serve {

/// Sends a reply as it is written, from some byte of it on. Leaving does not end the reply.
class ReplyFollower : public Exchange {
 public:
  /// Throws a Refusal for a place that the reply does not have.
  ReplyFollower(std::shared_ptr<RunningReply> reply, size_t content, size_t reasoning);
  ~ReplyFollower() override;

  void on_news(std::function<void()> wake) override;
  Part next() override;
  bool is_stream() const override { return true; }

 private:
  std::shared_ptr<RunningReply> reply_;
  size_t content_;
  size_t reasoning_;
  std::optional<PromptProgress> progress_;
  std::optional<int64_t> follower_;
};

}  // namespace salient::serve
