#include "serve/chat_store.h"

#include <gtest/gtest.h>

#include <fstream>
#include <memory>

#include "core/error.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace salient::serve {
namespace {

using core::ErrorKind;
using nlohmann::json;

class ChatStoreTest : public testing::Test {
 protected:
  std::filesystem::path file() const { return folder_.path() / "data" / "chats.sqlite"; }
  ChatStore& store() {
    if (!store_) store_ = std::make_unique<ChatStore>(file());
    return *store_;
  }
  void reopen() {
    store_.reset();
    store();
  }
  ChatMessage say(const std::string& conversation, const std::string& content, std::optional<std::string> parent = {}) {
    ChatMessage message;
    message.parent = std::move(parent);
    message.role = "user";
    message.content = content;
    return store().add(conversation, message);
  }
  ChatMessage reply(const std::string& conversation, const std::string& parent) {
    ChatMessage message;
    message.parent = parent;
    message.role = "assistant";
    message.model = "tiny";
    message.state = "writing";
    return store().add(conversation, message);
  }
  std::vector<FoundConversation> find(const std::string& query, int64_t limit = 50,
                                      std::optional<int64_t> before = {}) {
    return store().find({query, limit, before});
  }
  std::vector<std::string> titles(const std::string& query) {
    std::vector<std::string> result;
    for (const auto& found : find(query)) result.push_back(found.conversation.title);
    return result;
  }

  tests::TemporaryFolder folder_;
  std::unique_ptr<ChatStore> store_;
};

TEST_F(ChatStoreTest, KeepsConversations) {
  const ChatConversation made = store().create("Grüße", {{"temperature", 0.5}});
  EXPECT_FALSE(made.head);
  const ChatMessage first = say(made.id, "Hello");
  ChatMessage second = reply(made.id, first.id);
  second.content = std::string("with a \0 byte", 13);
  second.reasoning = "hm";
  second.state = "complete";
  second.timings = {{"predicted_n", 3}};
  second.finish_reason = "stop";
  store().update({second});
  reopen();
  const ChatConversation kept = store().conversation(made.id);
  EXPECT_EQ(kept.title, "Grüße");
  EXPECT_EQ(kept.settings, json({{"temperature", 0.5}}));
  EXPECT_EQ(kept.created, made.created);
  EXPECT_GT(kept.updated, made.updated);
  EXPECT_EQ(kept.head, second.id);
  const auto messages = store().messages(made.id);
  ASSERT_EQ(messages.size(), 2u);
  EXPECT_EQ(messages[0].content, "Hello");
  EXPECT_FALSE(messages[0].parent);
  EXPECT_EQ(messages[1].parent, first.id);
  EXPECT_EQ(messages[1].content, second.content);
  EXPECT_EQ(messages[1].reasoning, "hm");
  EXPECT_EQ(messages[1].timings, second.timings);
  EXPECT_EQ(messages[1].finish_reason, "stop");
}

TEST_F(ChatStoreTest, WhatWasBeingWrittenHasFailedAfterwards) {
  const std::string id = store().create("", json::object()).id;
  ChatMessage written = reply(id, say(id, "Hello").id);
  written.content = "So far";
  store().update({written});
  EXPECT_EQ(store().message(id, written.id).state, "writing");
  reopen();
  const ChatMessage found = store().message(id, written.id);
  EXPECT_EQ(found.state, "failed");
  EXPECT_EQ(found.error, "the server ended while it was written");
  EXPECT_EQ(found.content, "So far");
  EXPECT_EQ(find("So far").size(), 1u) << "it can be found from now on";
}

TEST_F(ChatStoreTest, MessagesAreATree) {
  const std::string id = store().create("", json::object()).id;
  const ChatMessage root = say(id, "a");
  ChatMessage left = reply(id, root.id);
  left.state = "complete";
  store().update({left});
  const ChatMessage right = reply(id, root.id);
  const ChatMessage leaf = say(id, "b", left.id);
  EXPECT_EQ(store().conversation(id).head, leaf.id);
  std::vector<std::string> path;
  for (const ChatMessage& message : store().path(id, leaf.id)) path.push_back(message.id);
  EXPECT_EQ(path, (std::vector<std::string>{root.id, left.id, leaf.id}));
  EXPECT_EQ(store().change(id, {{}, {}, right.id}).head, right.id);
  EXPECT_EQ(store().change(id, {"Tree", {}, {}}).title, "Tree");
  const ChatConversation changed = store().change(id, {{}, json{{"a", 1}}, {}});
  EXPECT_EQ(changed.settings, json({{"a", 1}}));
  EXPECT_EQ(changed.title, "Tree");
  EXPECT_EQ(changed.head, right.id);
}

TEST_F(ChatStoreTest, RefusesWhatDoesNotFit) {
  const std::string id = store().create("", json::object()).id;
  const std::string other = store().create("", json::object()).id;
  const ChatMessage root = say(id, "a");
  const ChatMessage writing = reply(id, root.id);
  tests::expect_error(ErrorKind::kNotFound, {"\"nobody\""}, [&] { store().conversation("nobody"); });
  tests::expect_error(ErrorKind::kNotFound, {"\"nobody\""}, [&] { store().remove("nobody"); });
  tests::expect_error(ErrorKind::kNotFound, {"\"nobody\""}, [&] { store().change("nobody", {}); });
  tests::expect_error(ErrorKind::kNotFound, {root.id, other}, [&] { say(other, "b", root.id); });
  tests::expect_error(ErrorKind::kNotFound, {root.id}, [&] { store().change(other, {{}, {}, root.id}); });
  tests::expect_error(ErrorKind::kInvalidInput, {"parent", "user"}, [&] { say(id, "b", root.id); });
  tests::expect_error(ErrorKind::kInvalidInput, {"parent", "assistant"}, [&] { reply(id, writing.id); });
  tests::expect_error(ErrorKind::kInvalidInput, {"still being written"}, [&] { say(id, "b", writing.id); });
  EXPECT_EQ(store().messages(id).size(), 2u);
  EXPECT_TRUE(store().messages(other).empty());
}

TEST_F(ChatStoreTest, FindsTitlesAndTexts) {
  const std::string one = store().create("About cats", json::object()).id;
  const std::string two = store().create("Other", json::object()).id;
  say(one, "Purring 100% of the day");
  const ChatMessage said = say(two, "Dogs and CATS, and \"quotes\", 猫が好き");
  ChatMessage written = reply(two, said.id);
  written.content = "unfinished business";
  store().update({written});
  EXPECT_EQ(titles(""), (std::vector<std::string>{"Other", "About cats"}));
  EXPECT_EQ(titles("cats"), (std::vector<std::string>{"Other", "About cats"}));
  EXPECT_EQ(titles("100%"), std::vector<std::string>{"About cats"});
  EXPECT_EQ(titles("1%0"), std::vector<std::string>{});
  EXPECT_EQ(titles("%"), std::vector<std::string>{"About cats"});
  EXPECT_EQ(titles("\"quotes\""), std::vector<std::string>{"Other"});
  EXPECT_EQ(titles("が好き"), std::vector<std::string>{"Other"});
  EXPECT_EQ(titles("猫"), std::vector<std::string>{"Other"});
  EXPECT_EQ(titles("business"), std::vector<std::string>{}) << "not before it is written";
  EXPECT_NE(find("Dogs")[0].excerpt.find("Dogs and CATS"), std::string::npos);
  store().remove(two);
  EXPECT_EQ(titles("cats"), std::vector<std::string>{"About cats"});
  EXPECT_EQ(titles("Dogs"), std::vector<std::string>{});
}

TEST_F(ChatStoreTest, ComesInPages) {
  for (int i = 0; i < 5; ++i) store().create(std::to_string(i), json::object());
  const auto first = find("", 2);
  ASSERT_EQ(first.size(), 2u);
  EXPECT_EQ(first[1].conversation.title, "3");
  const auto rest = find("", 50, first[1].conversation.updated);
  ASSERT_EQ(rest.size(), 3u);
  EXPECT_EQ(rest[0].conversation.title, "2");
}

TEST_F(ChatStoreTest, ImportGivesNewIds) {
  ChatConversation conversation;
  conversation.title = "Copy";
  conversation.head = "b";
  ChatMessage a;
  a.id = "a";
  a.role = "user";
  a.content = "Hello";
  ChatMessage b = a;
  b.id = "b";
  b.parent = "a";
  b.role = "assistant";
  const ChatConversation imported = store().import(conversation, {a, b});
  EXPECT_NE(store().import(conversation, {a, b}).id, imported.id);
  const auto messages = store().messages(imported.id);
  ASSERT_EQ(messages.size(), 2u);
  EXPECT_EQ(imported.head, messages[1].id);
  EXPECT_EQ(messages[1].parent, messages[0].id);
  tests::expect_error(ErrorKind::kInvalidInput, {"\"a\""}, [&] { store().import(conversation, {b, a}); });
  tests::expect_error(ErrorKind::kInvalidInput, {"two messages", "\"a\""}, [&] { store().import({}, {a, a}); });
  EXPECT_EQ(find("").size(), 2u) << "a failed import leaves nothing";
}

TEST_F(ChatStoreTest, BelongsToOneProcess) {
  store();
  tests::expect_error(ErrorKind::kInvalidInput, {file().string(), "in use"}, [&] { ChatStore second(file()); });
}

TEST_F(ChatStoreTest, RefusesFilesOfOthers) {
  const auto other = folder_.path() / "notes.txt";
  std::ofstream(other) << std::string(4096, 'x');
  tests::expect_error(ErrorKind::kInvalidInput, {"notes.txt", "not a SQLite database"}, [&] { ChatStore bad(other); });
  const auto stranger = folder_.path() / "stranger.sqlite";
  Database(stranger).script("CREATE TABLE t (x)");
  tests::expect_error(ErrorKind::kInvalidInput, {"another program"}, [&] { ChatStore bad(stranger); });
  store();
  store_.reset();
  Database(file()).script("PRAGMA user_version = 99");
  tests::expect_error(ErrorKind::kUnsupported, {"version 99", "expected 1"}, [&] { ChatStore bad(file()); });
}

TEST_F(ChatStoreTest, IsReadableForItsUserOnly) {
  store().create("secret", json::object());
  using std::filesystem::perms;
  for (const auto& entry : std::filesystem::directory_iterator(file().parent_path())) {
    EXPECT_EQ(entry.status().permissions() & (perms::group_all | perms::others_all), perms::none) << entry.path();
  }
}

}  // namespace
}  // namespace salient::serve
