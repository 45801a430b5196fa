#include "serve/running_reply.h"

#include <gtest/gtest.h>

#include "serve/failure.h"
#include "serve/reply_follower.h"

namespace salient::serve {
namespace {

ChatMessage writing() {
  ChatMessage message;
  message.id = "some message";
  message.role = "assistant";
  message.state = "writing";
  return message;
}

std::string text_of(const Exchange::Part& part) {
  return std::get<std::string>(part.content);
}

TEST(RunningReply, GivesWhatIsNew) {
  RunningReply reply(writing());
  reply.set_progress({3, 9});
  EXPECT_EQ(reply.since(0, 0).progress, (PromptProgress{3, 9}));
  reply.grow("Grü", "hm");
  reply.grow("ße", "");
  EXPECT_FALSE(reply.since(0, 0).progress) << "the prompt has been read";
  EXPECT_EQ(reply.since(0, 0).content, "Grüße");
  EXPECT_EQ(reply.since(4, 1).content, "ße");
  EXPECT_EQ(reply.since(4, 1).reasoning, "m");
  EXPECT_EQ(reply.since(7, 2).content, "");
  EXPECT_FALSE(reply.since(7, 2).ended);
  ChatMessage whole = reply.message();
  whole.state = "complete";
  reply.end(whole);
  EXPECT_EQ(reply.since(7, 2).ended->content, "Grüße");
}

TEST(RunningReply, RefusesPlacesThatItDoesNotHave) {
  RunningReply reply(writing());
  reply.grow("Grü", "");
  EXPECT_THROW(reply.since(3, 0), Refusal) << "in the middle of ü";
  EXPECT_THROW(reply.since(5, 0), Refusal) << "not written yet";
  EXPECT_THROW(reply.since(0, 1), Refusal);
  ChatMessage whole = reply.message();
  whole.state = "failed";
  reply.end(whole);
  EXPECT_EQ(reply.since(5, 1).content, "") << "a reader had more than could be kept";
  EXPECT_TRUE(reply.since(5, 1).ended);
}

TEST(RunningReply, WakesThoseWhoFollow) {
  RunningReply reply(writing());
  int first = 0;
  int second = 0;
  const int64_t one = reply.follow([&] { ++first; });
  reply.follow([&] { ++second; });
  reply.grow("a", "");
  reply.leave(one);
  reply.grow("b", "");
  EXPECT_EQ(first, 1);
  EXPECT_EQ(second, 2);
}

TEST(ReplyFollower, SendsEachByteOnce) {
  const auto reply = std::make_shared<RunningReply>(writing());
  reply->grow("abc", "");
  ReplyFollower follower(reply, 1, 0);
  bool is_woken = false;
  follower.on_news([&] { is_woken = true; });
  EXPECT_EQ(text_of(follower.next()), "data: {\"content\":\"bc\",\"offset\":1}\n\n");
  EXPECT_EQ(text_of(follower.next()), "");
  reply->grow("d", "hm");
  EXPECT_TRUE(is_woken);
  EXPECT_EQ(text_of(follower.next()),
            "data: {\"offset\":0,\"reasoning\":\"hm\"}\n\ndata: {\"content\":\"d\",\"offset\":3}\n\n");
  ChatMessage whole = reply->message();
  whole.state = "complete";
  reply->end(whole);
  const Exchange::Part last = follower.next();
  EXPECT_TRUE(last.last);
  EXPECT_TRUE(text_of(last).starts_with("data: {\"message\":"));
  EXPECT_TRUE(text_of(last).ends_with("}\n\ndata: [DONE]\n\n"));
}

}  // namespace
}  // namespace salient::serve
