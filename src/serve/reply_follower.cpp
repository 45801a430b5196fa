#include "serve/reply_follower.h"

#include <utility>

#include "serve/answer_json.h"
#include "serve/chat_json.h"

namespace salient::serve {

ReplyFollower::ReplyFollower(std::shared_ptr<RunningReply> reply, size_t content, size_t reasoning)
    : reply_(std::move(reply)), content_(content), reasoning_(reasoning) {
  reply_->since(content_, reasoning_);
}

ReplyFollower::~ReplyFollower() {
  if (follower_) reply_->leave(*follower_);
}

void ReplyFollower::on_news(std::function<void()> wake) {
  follower_ = reply_->follow(std::move(wake));
}

Exchange::Part ReplyFollower::next() {
  const RunningReply::News news = reply_->since(content_, reasoning_);
  std::string events;
  if (news.progress && news.progress != progress_) {
    events += event({{"prompt_progress", {{"processed", news.progress->processed}, {"total", news.progress->total}}}});
    progress_ = news.progress;
  }
  if (!news.reasoning.empty()) events += event({{"reasoning", news.reasoning}, {"offset", reasoning_}});
  if (!news.content.empty()) events += event({{"content", news.content}, {"offset", content_}});
  reasoning_ += news.reasoning.size();
  content_ += news.content.size();
  if (news.ended) events += event({{"message", to_json(*news.ended)}}) + "data: [DONE]\n\n";
  return {std::move(events), news.ended.has_value()};
}

}  // namespace salient::serve
