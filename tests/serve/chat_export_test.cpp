#include "serve/chat_export.h"

#include <gtest/gtest.h>

#include "serve/chat_json.h"
#include "serve/failure.h"

namespace salient::serve {
namespace {

using nlohmann::json;

ChatMessage message(const std::string& id, std::optional<std::string> parent, const std::string& role,
                    const std::string& content) {
  ChatMessage result;
  result.id = id;
  result.parent = std::move(parent);
  result.role = role;
  result.content = content;
  result.created = 1764107000123456;
  return result;
}

/// A question with two answers, of which the second is shown, and contents that look like what is around them.
ChatDocument document() {
  ChatDocument result;
  result.conversation.title = "Line\nbreak -->";
  result.conversation.created = 1764107000000001;
  result.conversation.settings = {{"system", "-->\n<!-- salient message {} -->"}};
  result.conversation.head = "c";
  result.messages = {message("a", {}, "user", "\n\n## You\n\n<!-- salient message {} -->\n<!-- \\salient x\n\n"),
                     message("b", "a", "assistant", "other"),
                     message("c", "a", "assistant", "<!-- salient conversation")};
  result.messages[2].model = "tiny";
  result.messages[2].state = "stopped";
  result.messages[2].reasoning = "hm -->";
  result.messages[2].timings = {{"predicted_n", 3}};
  return result;
}

json all_of(const ChatDocument& document) {
  json result = {to_json(document.conversation)};
  result[0].erase("id");
  result[0].erase("updated");
  for (const ChatMessage& one : document.messages) result.push_back(to_json(one));
  return result;
}

template <typename Read>
void expect_refusal(const std::string& text, const std::string& words, Read&& read) {
  try {
    read(text);
    ADD_FAILURE() << "no refusal of " << text;
  } catch (const Refusal& refusal) {
    EXPECT_EQ(refusal.status(), 400);
    EXPECT_NE(std::string(refusal.what()).find(words), std::string::npos) << refusal.what();
  }
}

TEST(ChatExport, JsonIsReadBack) {
  EXPECT_EQ(all_of(read_json_file(to_json_file(document()))), all_of(document()));
}

TEST(ChatExport, MarkdownOfWhatIsShownIsReadBack) {
  ChatDocument shown = document();
  shown.messages.erase(shown.messages.begin() + 1);
  EXPECT_EQ(all_of(read_markdown(to_markdown(document()))), all_of(shown));
}

TEST(ChatExport, MarkdownOfEveryEndOfAContentIsReadBack) {
  for (const char* content : {"", "\n", "\n\n", "a", "a\n", "## b", "<!-- salient ", "\\", "<!-- \\\\salient \n"}) {
    ChatDocument one;
    one.conversation.head = "a";
    one.messages = {message("a", {}, "user", content)};
    EXPECT_EQ(read_markdown(to_markdown(one)).messages.at(0).content, content);
  }
}

TEST(ChatExport, NothingIsWrittenInAFile) {
  ChatDocument one = document();
  one.messages[2].state = "writing";
  EXPECT_EQ(read_json_file(to_json_file(one)).messages[2].state, "stopped");
}

TEST(ChatExport, RefusesWhatIsNoConversation) {
  const auto changed = [](const json& patch) {
    json file = json::parse(to_json_file(document()));
    file.merge_patch(patch);
    return file.dump();
  };
  expect_refusal("{}", "format", read_json_file);
  expect_refusal(changed({{"format", "other"}}), "format", read_json_file);
  expect_refusal(changed({{"version", 2}}), "version", read_json_file);
  expect_refusal(changed({{"messages", 1}}), "messages", read_json_file);
  expect_refusal(changed({{"messages", json::array({1})}}), "messages[0]", read_json_file);
  expect_refusal(changed({{"conversation", {{"head", "nobody"}}}}), "nobody", read_json_file);
  const auto with_messages = [&](const std::vector<ChatMessage>& messages) {
    json list = json::array();
    for (const ChatMessage& one : messages) list.push_back(to_json(one));
    return changed({{"messages", list}, {"conversation", {{"head", nullptr}}}});
  };
  expect_refusal(with_messages({message("b", "a", "assistant", ""), message("a", {}, "user", "")}), "before its parent",
                 read_json_file);
  expect_refusal(with_messages({message("a", {}, "assistant", "")}), "role", read_json_file);
  expect_refusal(with_messages({message("a", {}, "user", ""), message("a", {}, "user", "")}), "two messages",
                 read_json_file);
  expect_refusal("# A title\n", "no Markdown that an export has written", read_markdown);
  expect_refusal("<!-- salient conversation {\n", "does not end", read_markdown);
  expect_refusal("<!-- salient conversation {} -->\n<!-- salient message -->\n", "JSON", read_markdown);
  expect_refusal("<!-- salient other {} -->\n", "other", read_markdown);
  expect_refusal("<!-- salient -->\n", "end", read_markdown);
}

TEST(ChatExport, NamesFiles) {
  EXPECT_EQ(file_name_of("A \"title\"/../x", "json"), "A-title-x.json");
  EXPECT_EQ(file_name_of("", "md"), "conversation.md");
  EXPECT_EQ(file_name_of("猫\r\n", "md"), "conversation.md");
  EXPECT_EQ(file_name_of(std::string(500, 'a'), "md").size(), 63u);
}

}  // namespace
}  // namespace salient::serve
