#include "serve/chat_prompt.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace salient::serve {
namespace {

using text::Message;

text::ChatTemplate template_of(const char* source) {
  return text::ChatTemplate({{"chat_template", source}}, "models/x");
}

TEST(ChatPrompt, ATemplateThatKnowsToolsIsAskedAboutThem) {
  const auto chat = template_of("{{ tools[0].function.name }}{% for m in messages %}|{{ m.role }}{% endfor %}");
  const std::vector<Message> messages = {{"user", "?"}, {"assistant", "", {{"1", "f", "{}"}}}, {"tool", "4", {}, "1"}};
  EXPECT_EQ(render_chat(chat, messages, R"([{"function": {"name": "f"}}])"), "f|user|assistant|tool");
}

TEST(ChatPrompt, OneThatKnowsNoneIsToldInWords) {
  const auto chat = template_of("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}");
  const std::vector<Message> messages = {{"user", "2 + 2?"},
                                         {"assistant", "Well.", {{"1", "add", R"({"b": 2, "a": 2})"}}},
                                         {"tool", "4", {}, "1"},
                                         {"tool", "5", {}, "2"}};
  const std::string expected =
      "user: 2 + 2?\nassistant: Well.\n<tool_call>\n{\"name\":\"add\",\"arguments\":{\"b\":2,\"a\":2}}\n</tool_call>\n"
      "user: <tool_response>\n4\n</tool_response>\n<tool_response>\n5\n</tool_response>\n";
  EXPECT_EQ(render_chat(chat, messages, ""), expected);
  const std::string told = render_chat(chat, messages, R"([{"function": {"name": "add"}}])");
  EXPECT_TRUE(told.starts_with("system: You can call functions.")) << told;
  EXPECT_NE(told.find("<tools>\n{\"function\":{\"name\":\"add\"}}\n</tools>"), std::string::npos) << told;
  EXPECT_TRUE(told.ends_with(expected)) << told;
  EXPECT_EQ(render_chat(chat, {{"user", "hi"}}, ""), "user: hi\n");
  EXPECT_TRUE(
      render_chat(chat, {{"system", "Be brief."}, {"user", "hi"}}, "[]").starts_with("system: Be brief.\n\nYou"));
}

TEST(ChatPrompt, SaysWhetherAThoughtHasBegun) {
  EXPECT_TRUE(begins_thought("<|assistant|><think>\n"));
  EXPECT_FALSE(begins_thought("<think>\n\n</think>\n\n"));
  EXPECT_FALSE(begins_thought(""));
}

}  // namespace
}  // namespace salient::serve
