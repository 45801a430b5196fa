#include "serve/reply_writer.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>
#include <optional>

#include "tests/support/chat_model.h"
#include "tests/support/temporary_folder.h"

namespace salient::serve {
namespace {

using nlohmann::json;

class ReplyWriterTest : public testing::Test {
 protected:
  ReplyWriterTest() {
    tests::write_chat_model(folder_.path() / "tiny");
    EngineOptions options;
    options.threads = 1;
    options.most_open = 2;
    options.model.kv_bytes = 16 << 20;
    engine_.emplace(std::vector<ModelEntry>{{"tiny", folder_.path() / "tiny"}}, options);
    store_.emplace(folder_.path() / "chats.sqlite");
    writer_.emplace(*engine_, *store_);
    conversation_ = store_->create("", json::object()).id;
    ChatMessage asked;
    asked.role = "user";
    asked.content = "Hello";
    asked_ = store_->add(conversation_, asked).id;
  }
  static CompletionRequest request(int64_t tokens) {
    const json body = {{"messages", {{{"role", "user"}, {"content", "Hello"}}}},
                       {"stream", true},
                       {"return_progress", true},
                       {"max_tokens", tokens},
                       {"temperature", 0}};
    return read_chat_request(body, {});
  }
  std::string start(int64_t tokens) {
    ChatMessage message;
    message.role = "assistant";
    message.parent = asked_;
    message.state = "writing";
    message = store_->add(conversation_, message);
    writer_->start(message, 0, request(tokens), "me");
    return message.id;
  }
  /// Waits until `is_reached` is true of a reply.
  template <typename Predicate>
  void wait(const std::string& id, Predicate&& is_reached) {
    const auto reply = writer_->find(id);
    if (!reply) return;
    std::mutex mutex;
    std::condition_variable news;
    const int64_t follower = reply->follow([&] {
      const std::lock_guard lock(mutex);
      news.notify_all();
    });
    while (!is_reached(reply->message())) {
      std::unique_lock lock(mutex);  // not held while the reply is asked: it wakes with its own lock held
      news.wait_for(lock, std::chrono::milliseconds(10));
    }
    reply->leave(follower);
  }
  static bool has_ended(const ChatMessage& message) { return message.state != "writing"; }
  static bool has_begun(const ChatMessage& message) { return !message.content.empty() || has_ended(message); }
  ChatMessage stored(const std::string& id) { return store_->message(conversation_, id); }

  tests::TemporaryFolder folder_;
  std::optional<Engine> engine_;
  std::optional<ChatStore> store_;
  std::optional<ReplyWriter> writer_;
  std::string conversation_;
  std::string asked_;
};

TEST_F(ReplyWriterTest, WritesIntoTheStore) {
  const std::string id = start(10);
  wait(id, has_ended);
  const ChatMessage message = stored(id);
  EXPECT_EQ(message.state, "complete");
  EXPECT_EQ(message.finish_reason, "length");
  EXPECT_EQ(message.timings["predicted_n"], 10);
  EXPECT_FALSE(message.content.empty());
  EXPECT_EQ(writer_->find(id), nullptr);
}

TEST_F(ReplyWriterTest, StopsWhatItIsAskedTo) {
  const std::string id = start(200);
  wait(id, has_begun);
  writer_->stop(id);
  EXPECT_EQ(writer_->find(id), nullptr);
  EXPECT_TRUE(stored(id).state == "stopped" || stored(id).state == "complete");
  writer_->stop(id);
  writer_->stop("nobody");
}

TEST_F(ReplyWriterTest, StopsAllAtItsEnd) {
  const std::string first = start(200);
  const std::string second = start(200);
  writer_.reset();
  for (const std::string& id : {first, second}) {
    EXPECT_TRUE(stored(id).state == "stopped" || stored(id).state == "complete") << stored(id).state;
  }
}

TEST_F(ReplyWriterTest, WhatIsRefusedHasFailed) {
  const std::string id = start(1 << 20);
  wait(id, has_ended);
  EXPECT_EQ(stored(id).state, "failed");
  EXPECT_NE(stored(id).error.find("1048576"), std::string::npos) << stored(id).error;
}

TEST_F(ReplyWriterTest, AConversationMayBeRemovedMeanwhile) {
  const std::string id = start(100);
  const auto reply = writer_->find(id);
  ASSERT_TRUE(reply);
  store_->remove(conversation_);
  wait(id, has_ended);
  EXPECT_EQ(reply->message().state, "complete");
}

}  // namespace
}  // namespace salient::serve
