#include "serve/tool_call_reader.h"

#include <gtest/gtest.h>

namespace salient::serve {
namespace {

struct Call {
  std::string name;
  std::string arguments;
  bool operator==(const Call&) const = default;
};
void PrintTo(const Call& call, std::ostream* out) {
  *out << call.name << " " << call.arguments;
}

struct Read {
  std::string text;
  std::vector<Call> calls;
  bool operator==(const Read&) const = default;
};
void PrintTo(const Read& read, std::ostream* out) {
  *out << "\"" << read.text << "\" " << testing::PrintToString(read.calls);
}

const ToolStyle& style_of(const std::string& source) {
  return tool_style_of(text::ChatTemplate({{"chat_template", source}}, "models/x"));
}
const ToolStyle& hermes() {
  return style_of("<tool_call>");
}

/// A reply that arrives in pieces of so many bytes.
Read read(const ToolStyle& style, const std::string& reply, size_t size) {
  ToolCallReader reader(style, {"f", "get_weather"});
  Read result;
  std::vector<std::string> ids;
  const auto take = [&](const ToolCallReader::Parts& parts) {
    result.text += parts.text;
    for (const ToolCallDelta& delta : parts.calls) {
      if (!delta.id.empty()) {
        EXPECT_EQ(delta.index, result.calls.size());
        EXPECT_EQ(delta.id.size(), style.id_prefix.size() + style.id_size);
        result.calls.push_back({delta.name, ""});
        ids.push_back(delta.id);
      }
      EXPECT_EQ(delta.index + 1, result.calls.size());
      result.calls.back().arguments += delta.arguments;
    }
  };
  for (size_t i = 0; i < reply.size(); i += size) take(reader.push(std::string_view(reply).substr(i, size)));
  take(reader.finish());
  EXPECT_EQ(reader.has_calls(), !result.calls.empty());
  return result;
}

void expect(const ToolStyle& style, const std::string& reply, const Read& expected) {
  for (size_t size = 1; size <= reply.size(); ++size) EXPECT_EQ(read(style, reply, size), expected) << size;
}

TEST(ToolStyle, IsThatOfTheTemplate) {
  EXPECT_STREQ(hermes().name, "hermes");
  EXPECT_STREQ(style_of("{% if tools %}[AVAILABLE_TOOLS]{% endif %}[TOOL_CALLS] [").name, "mistral");
  EXPECT_STREQ(style_of("{{ '<|python_tag|>' }}").name, "llama");
  EXPECT_STREQ(style_of("Respond with {\"name\": function name, \"parameters\": dictionary of}").name, "llama");
  EXPECT_STREQ(style_of("<|tool|><|/tool|><|tool_call|>").name, "phi");
  EXPECT_STREQ(style_of("knows of no tools").name, "hermes");
}

TEST(ToolCallReader, Hermes) {
  expect(hermes(), "Just text, 1 < 2.\n", {"Just text, 1 < 2.\n", {}});
  expect(hermes(), "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": [1, {\"b\": \"}\\\"\"}]}}\n</tool_call>",
         {"", {{"f", "{\"a\": [1, {\"b\": \"}\\\"\"}]}"}}});
  expect(hermes(),
         "Let me see.\n<tool_call>{\"arguments\": {\"x\": 1} , \"name\": \"f\"}</tool_call>\n<tool_call>\n{\"name\": "
         "\"other\", \"arguments\": {}}\n</tool_call>\nDone.",
         {"Let me see.Done.", {{"f", "{\"x\": 1}"}, {"other", "{}"}}});
  expect(hermes(), "<tool_call>[{\"name\": \"f\", \"arguments\": {}}, {\"name\": \"f\"}]</tool_call>",
         {"", {{"f", "{}"}, {"f", "{}"}}});
}

TEST(ToolCallReader, Mistral) {
  const ToolStyle& mistral = style_of("[TOOL_CALLS]");
  expect(mistral, "[TOOL_CALLS] [{\"name\": \"f\", \"arguments\": {\"a\": 1}}, {\"name\": \"g\", \"arguments\": {}}]",
         {"", {{"f", "{\"a\": 1}"}, {"g", "{}"}}});
  expect(mistral, "[1, 2] is a list", {"[1, 2] is a list", {}});
}

TEST(ToolCallReader, Llama) {
  const ToolStyle& llama = style_of("<|python_tag|>");
  expect(llama, "{\"name\": \"get_weather\", \"parameters\": {\"city\": \"Ulm\"}}",
         {"", {{"get_weather", "{\"city\": \"Ulm\"}"}}});
  expect(llama, " {\"type\": \"function\", \"name\": \"f\", \"parameters\": {}}; {\"name\": \"f\", \"parameters\": {}}",
         {"", {{"f", "{}"}, {"f", "{}"}}});
  expect(llama, "<|python_tag|>{\"name\": \"f\", \"parameters\": {}}", {"", {{"f", "{}"}}});
  expect(llama, "{\"name\": \"Anna\", \"age\": 7} and {\"name\": \"f\"}",
         {"{\"name\": \"Anna\", \"age\": 7} and {\"name\": \"f\"}", {}});
  expect(llama, "<|python_tag|>print(1)", {"<|python_tag|>print(1)", {}});
}

TEST(ToolCallReader, Phi) {
  const ToolStyle& phi = style_of("<|tool_call|>");
  expect(phi,
         "<|tool_call|>[{\"type\": \"function\", \"function\": {\"name\": \"f\", \"arguments\": {\"a\": 1}}}]"
         "<|/tool_call|>",
         {"", {{"f", "{\"a\": 1}"}}});
  expect(phi, "<|tool_call|>[{\"name\": \"f\", \"parameters\": {}}]<|/tool_call|>ok", {"ok", {{"f", "{}"}}});
}

TEST(ToolCallReader, ArgumentsThatAreTextOrMissing) {
  expect(hermes(), "<tool_call>{\"name\": \"f\", \"arguments\": \"{\\\"a\\\": 1}\"}</tool_call>",
         {"", {{"f", "{\"a\": 1}"}}});
  expect(hermes(), "<tool_call>{\"name\": \"f\", \"arguments\": null, \"extra\": [1, \"x\"]}</tool_call>",
         {"", {{"f", "{}"}}});
}

TEST(ToolCallReader, WhatIsNoCallIsText) {
  for (const std::string text :
       {"<tool_call>no JSON</tool_call>", "<tool_call>{\"arguments\": {}}</tool_call>", "<tool_call>{\"name\": 7}",
        "<tool_call>{]}", "<tool_call>\n", "<tool_call>{\"nam", "<tool_c"}) {
    expect(hermes(), text, {text, {}});
  }
}

TEST(ToolCallReader, ACallThatIsCutOffKeepsWhatThereWas) {
  expect(hermes(), "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": [1,", {"", {{"f", "{\"a\": [1,"}}});
}

TEST(ToolCallReader, ArgumentsComeAsTheyAreWritten) {
  ToolCallReader reader(hermes(), {});
  EXPECT_TRUE(reader.push("<tool_call>{\"name\": \"f").calls.empty());
  EXPECT_EQ(reader.push("\", \"arguments\": {\"a\"").calls.at(0).arguments, "{\"a\"");
  EXPECT_EQ(reader.push(": 1").calls.at(0).arguments, ": 1");
  EXPECT_EQ(reader.push("}").calls.at(0).arguments, "}");
}

}  // namespace
}  // namespace salient::serve
