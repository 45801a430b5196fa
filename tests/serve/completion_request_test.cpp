#include "serve/completion_request.h"

#include <gtest/gtest.h>

#include "serve/failure.h"

namespace salient::serve {
namespace {

using nlohmann::json;

const json kMessages = json::array({{{"role", "user"}, {"content", "hi"}}});

CompletionRequest chat(json fields) {
  fields["messages"] = fields.value("messages", kMessages);
  return read_chat_request(fields, {});
}
CompletionRequest complete(json fields) {
  fields["prompt"] = fields.value("prompt", json("hi"));
  return read_text_request(fields, {});
}
/// The field that a refusal names, and what it says.
std::pair<std::string, std::string> refusal(const auto& read, const json& fields) {
  try {
    read(fields);
    return {"accepted", ""};
  } catch (const Refusal& refused) {
    EXPECT_EQ(refused.status(), 400);
    return {refused.parameter(), refused.what()};
  }
}

TEST(CompletionRequest, ReadsAChat) {
  const CompletionRequest request = chat({{"model", "tiny"},
                                          {"temperature", 0.5},
                                          {"top_p", 0.25},
                                          {"top_k", 3},
                                          {"min_p", 0.125},
                                          {"presence_penalty", 1.5},
                                          {"frequency_penalty", -1},
                                          {"repetition_penalty", 1.25},
                                          {"logit_bias", {{"7", -100}, {"31", 2.5}}},
                                          {"seed", 7},
                                          {"n", 2},
                                          {"stop", {"a", "b"}},
                                          {"max_completion_tokens", 5},
                                          {"max_tokens", 6},
                                          {"stream", true},
                                          {"stream_options", {{"include_usage", true}}},
                                          {"logprobs", true},
                                          {"top_logprobs", 4},
                                          {"user", "me"},
                                          {"tools", nullptr}});
  EXPECT_TRUE(request.is_chat());
  EXPECT_EQ(request.model, "tiny");
  EXPECT_EQ(request.sampling.temperature, 0.5f);
  EXPECT_EQ(request.sampling.top_p, 0.25f);
  EXPECT_EQ(request.sampling.top_k, 3);
  EXPECT_EQ(request.sampling.min_p, 0.125f);
  EXPECT_EQ(request.sampling.presence_penalty, 1.5f);
  EXPECT_EQ(request.sampling.frequency_penalty, -1.0f);
  EXPECT_EQ(request.sampling.repetition_penalty, 1.25f);
  EXPECT_EQ(request.logit_bias, (generate::LogitBias{{7, -100.0f}, {31, 2.5f}}));
  EXPECT_EQ(request.sampling.seed, 7u);
  EXPECT_EQ(request.choices, 2);
  EXPECT_EQ(request.stop, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(request.max_tokens, 5);
  EXPECT_TRUE(request.stream);
  EXPECT_TRUE(request.include_usage);
  EXPECT_EQ(request.logprobs, 4);
  EXPECT_EQ(request.user, "me");
}

TEST(CompletionRequest, TakesWhatIsNotSaidFromTheDefaults) {
  const RequestDefaults defaults{
      {.temperature = 0.3f, .top_k = 9, .top_p = 0.8f, .min_p = 0.1f, .presence_penalty = 0.5f}};
  const CompletionRequest request = read_chat_request({{"messages", kMessages}}, defaults);
  EXPECT_EQ(request.sampling.temperature, 0.3f);
  EXPECT_EQ(request.sampling.top_k, 9);
  EXPECT_EQ(request.sampling.top_p, 0.8f);
  EXPECT_EQ(request.sampling.min_p, 0.1f);
  EXPECT_EQ(request.sampling.presence_penalty, 0.5f);
  EXPECT_FALSE(request.max_tokens);
  EXPECT_FALSE(request.logprobs);
  EXPECT_NE(request.sampling.seed, read_chat_request({{"messages", kMessages}}, defaults).sampling.seed)
      << "without a seed every reply is another";
}

TEST(CompletionRequest, ReadsPartsOfMessages) {
  const json parts = json::array({{{"type", "text"}, {"text", "one "}}, {{"type", "text"}, {"text", "two"}}});
  const CompletionRequest request = chat({{"messages", json::array({{{"role", "developer"}, {"content", parts}},
                                                                    {{"role", "assistant"}, {"content", nullptr}}})}});
  EXPECT_EQ(request.messages[0].role, "system");
  EXPECT_EQ(request.messages[0].content, "one two");
  EXPECT_EQ(request.messages[1].content, "");
}

TEST(CompletionRequest, ReadsWhatTheReplyMustFollow) {
  const auto grammar = [](const json& fields) {
    const auto found = chat(fields).grammar;
    return found ? found->kind + " " + found->text : "none";
  };
  EXPECT_EQ(grammar({{"response_format", {{"type", "text"}}}}), "none");
  EXPECT_EQ(grammar({{"response_format", {{"type", "json_object"}}}}), R"(json_schema {"type": "object"})");
  EXPECT_EQ(grammar({{"response_format", {{"type", "json_object"}, {"schema", {{"enum", {1}}}}}}}),
            R"(json_schema {"enum":[1]})");
  const json named = {{"name", "x"}, {"strict", true}, {"schema", {{"type", "array"}}}};
  EXPECT_EQ(grammar({{"response_format", {{"type", "json_schema"}, {"json_schema", named}}}}),
            R"(json_schema {"type":"array"})");
  EXPECT_EQ(grammar({{"json_schema", {{"type", "null"}}}}), R"(json_schema {"type":"null"})");
  EXPECT_EQ(grammar({{"guided_json", "{}"}}), "json_schema {}");
  EXPECT_EQ(grammar({{"guided_regex", "a+"}}), "regex a+");
  EXPECT_EQ(grammar({{"guided_choice", {"yes", "\"no\""}}}), R"(lark start: "yes" | "\"no\"")");
  EXPECT_EQ(refusal(chat, {{"guided_regex", "a"}, {"guided_json", "{}"}}).first, "guided_regex");
  EXPECT_EQ(refusal(chat, {{"response_format", {{"type", "json_schema"}, {"json_schema", {{"name", "x"}}}}}}).first,
            "response_format.json_schema.schema");
}

TEST(CompletionRequest, ASchemaKeepsTheOrderOfItsFields) {
  const std::string text =
      R"({"messages": [{"role": "user", "content": "hi"}], "response_format": {"type": "json_object",
      "schema": {"properties": {"z": {}, "a": {}}}}})";
  EXPECT_EQ(read_chat_request(parse_body(text), {}, text).grammar->text, R"({"properties":{"z":{},"a":{}}})");
  json wide = json::object();
  for (int i = 0; i < 2000; ++i) wide[std::to_string(i)] = i;
  EXPECT_NE(refusal(chat, {{"json_schema", wide}}).second.find("2000 fields"), std::string::npos);
}

json tool(const char* name) {
  return {{"type", "function"}, {"function", {{"name", name}, {"parameters", {{"type", "object"}}}}}};
}

TEST(CompletionRequest, ReadsTools) {
  const json tools = {tool("f"), tool("g")};
  const auto read = [&](json fields) {
    fields["tools"] = tools;
    return chat(fields).tools;
  };
  EXPECT_EQ(read({}).tools.size(), 2u);
  EXPECT_EQ(json::parse(read({}).json), tools);
  EXPECT_FALSE(read({{"tool_choice", "auto"}}).must_call);
  EXPECT_TRUE(read({{"tool_choice", "none"}}).tools.empty());
  EXPECT_EQ(read({{"tool_choice", "none"}}).json, "");
  EXPECT_EQ(read({{"tool_choice", "required"}}).must_call_of.size(), 2u);
  EXPECT_EQ(read({{"tool_choice", "required"}, {"parallel_tool_calls", false}}).most_calls, 1);
  const ToolsRequest named = read({{"tool_choice", {{"type", "function"}, {"function", {{"name", "g"}}}}}});
  ASSERT_EQ(named.must_call_of.size(), 1u);
  EXPECT_EQ(named.must_call_of[0].name, "g");
  EXPECT_EQ(refusal(chat, {{"tool_choice", "required"}}).first, "tool_choice");
  EXPECT_EQ(refusal(chat, {{"tools", tools}, {"tool_choice", {{"function", {{"name", "h"}}}}}}).first, "tool_choice");
  EXPECT_EQ(refusal(chat, {{"tools", {{{"type", "web_search"}}}}}).first, "tools[0].type");
  EXPECT_EQ(refusal(chat, {{"tools", {{{"function", {{"name", "f"}, {"parameters", 1}}}}}}}).first,
            "tools[0].function.parameters");
  EXPECT_EQ(refusal(chat, {{"tools", tools}, {"guided_regex", "a"}}).first, "tools");
  EXPECT_EQ(refusal(complete, {{"tools", tools}}).first, "tools");
}

TEST(CompletionRequest, ReadsCallsAndTheirResults) {
  const json call = {{"id", "1"}, {"type", "function"}, {"function", {{"name", "f"}, {"arguments", "{\"a\": 1}"}}}};
  const json messages = {{{"role", "user"}, {"content", "hi"}},
                         {{"role", "assistant"}, {"content", nullptr}, {"tool_calls", {call}}},
                         {{"role", "tool"}, {"tool_call_id", "1"}, {"content", "7"}}};
  const CompletionRequest request = chat({{"messages", messages}});
  EXPECT_EQ(request.messages[1].tool_calls.at(0).arguments, "{\"a\": 1}");
  EXPECT_EQ(request.messages[2].tool_call_id, "1");
  json wrong = messages;
  wrong[1]["tool_calls"][0]["function"]["arguments"] = std::string(100, '[') + std::string(100, ']');
  EXPECT_EQ(refusal(chat, {{"messages", wrong}}).first, "messages[1].tool_calls[0].function.arguments");
  wrong = messages;
  wrong[0]["tool_calls"] = {call};
  EXPECT_EQ(refusal(chat, {{"messages", wrong}}).first, "messages[0].tool_calls");
}

TEST(CompletionRequest, ReadsEveryKindOfPrompt) {
  using Ids = std::vector<int32_t>;
  EXPECT_EQ(std::get<std::string>(complete({{"prompt", "a"}}).prompts[0]), "a");
  EXPECT_EQ(std::get<Ids>(complete({{"prompt", {1, 2}}}).prompts[0]), (Ids{1, 2}));
  EXPECT_EQ(complete({{"prompt", json::array({"a", "b"})}}).prompts.size(), 2u);
  EXPECT_EQ(std::get<Ids>(complete({{"prompt", {{1}, {2, 3}}}}).prompts[1]), (Ids{2, 3}));
  EXPECT_EQ(complete(json::object()).max_tokens, 16) << "OpenAI's default";
  EXPECT_EQ(complete({{"max_tokens", 0}}).max_tokens, 0);
}

TEST(CompletionRequest, NamesTheFieldAtFault) {
  for (const auto& [name, value] :
       std::vector<std::pair<const char*, json>>{{"temperature", -0.1},
                                                 {"temperature", "hot"},
                                                 {"temperature", true},
                                                 {"top_p", 1.1},
                                                 {"top_p", 0},
                                                 {"n", 0},
                                                 {"n", 1.5},
                                                 {"seed", -2},
                                                 {"seed", 1e30},
                                                 {"max_tokens", 0},
                                                 {"max_tokens", 18446744073709551615u},
                                                 {"stop", 3},
                                                 {"stop", ""},
                                                 {"stream", "yes"},
                                                 {"model", 7},
                                                 {"frequency_penalty", 3},
                                                 {"presence_penalty", -2.5},
                                                 {"repetition_penalty", 0},
                                                 {"min_p", 2},
                                                 {"logit_bias", {1, 2}},
                                                 {"logit_bias", {{"one", 1}}},
                                                 {"logit_bias", {{"-1", 1}}},
                                                 {"logit_bias", {{"1", 101}}},
                                                 {"logit_bias", {{"1", nullptr}}},
                                                 {"response_format", {{"type", "unheard_of"}}},
                                                 {"unheard_of", 1}}) {
    const auto [field, sentence] = refusal(chat, {{name, value}});
    EXPECT_EQ(field, name) << value;
    EXPECT_NE(sentence.find(name), std::string::npos) << sentence;
  }
  EXPECT_EQ(refusal(chat, {{"stream", true}, {"stream_options", {{"usage", true}}}}).first, "stream_options.usage");
  EXPECT_EQ(refusal(complete, {{"logprobs", 21}}).first, "logprobs");
  EXPECT_EQ(refusal(complete, {{"prompt", json::array({"a", 1})}}).first, "prompt");
  EXPECT_EQ(refusal(complete, {{"best_of", 3}}).first, "best_of");
}

TEST(CompletionRequest, BodiesAreObjectsOfSomeDepth) {
  EXPECT_EQ(parse_body(R"({"a": [[1]]})")["a"][0][0], 1);
  for (const char* body : {"", "[]", "1", "{", "{\"a\": 1e999}", "{} {}", "\xff"}) {
    EXPECT_THROW(parse_body(body), Refusal) << body;
  }
  EXPECT_THROW(parse_body("{\"a\":" + std::string(1000000, '[')), Refusal);
  EXPECT_THROW(parse_body("{\"a\":" + std::string(100, '[') + std::string(100, ']') + "}"), Refusal);
}

}  // namespace
}  // namespace salient::serve
