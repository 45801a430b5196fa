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
