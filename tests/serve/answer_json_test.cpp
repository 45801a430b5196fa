#include "serve/answer_json.h"

#include <gtest/gtest.h>

#include <limits>

#include "tests/support/tiny_tokenizer.h"

namespace salient::serve {
namespace {

using nlohmann::json;

constexpr float kNever = -std::numeric_limits<float>::infinity();

TEST(AnswerJson, AnEventIsOneLine) {
  EXPECT_EQ(event({{"a", "two\nlines"}}), "data: {\"a\":\"two\\nlines\"}\n\n");
  EXPECT_EQ(event({{"a", "\xff"}}), "data: {\"a\":\"\xef\xbf\xbd\"}\n\n") << "always UTF-8";
}

TEST(AnswerJson, ATokensTextIsWhatItAddsToAText) {
  const text::Tokenizer tokenizer(tests::sentencepiece_tokenizer(), "tiny");
  EXPECT_EQ(token_text(tokenizer, 286), " a") << "not \"a\", as at the beginning of a text";
  EXPECT_EQ(token_text(tokenizer, 260), "a");
  EXPECT_EQ(token_text(tokenizer, 2), "</s>");
}

TEST(AnswerJson, ChatLogprobs) {
  const text::Tokenizer tokenizer(tests::byte_level_tokenizer(), "tiny");
  const json found = chat_logprobs({{{'a', -0.5f}, {{'a', -0.5f}, {0xC3, kNever}}}}, tokenizer);
  const json& token = found["content"][0];
  EXPECT_EQ(token["token"], "a");
  EXPECT_EQ(token["logprob"], -0.5f);
  EXPECT_EQ(token["bytes"], json({97}));
  EXPECT_EQ(token["top_logprobs"].size(), 2u);
  EXPECT_EQ(token["top_logprobs"][1]["logprob"], -9999.0f) << "JSON has no infinity";
  EXPECT_EQ(token["top_logprobs"][1]["bytes"], nullptr) << "a part of a character";
}

TEST(AnswerJson, TextLogprobsGrow) {
  const text::Tokenizer tokenizer(tests::byte_level_tokenizer(), "tiny");
  TextLogprobs logprobs(tokenizer);
  logprobs.add_first('a');
  logprobs.add({{'b', -1.0f}, {{'c', -0.5f}, {'b', -1.0f}}});
  const json expected = {{"tokens", {"a", "b"}},
                         {"token_logprobs", {nullptr, -1.0f}},
                         {"top_logprobs", {nullptr, {{"c", -0.5f}, {"b", -1.0f}}}},
                         {"text_offset", {0, 1}}};
  EXPECT_EQ(logprobs.take(), expected);
  logprobs.add({{'d', -2.0f}, {}});
  EXPECT_EQ(logprobs.take()["text_offset"], json({2}));
}

TEST(AnswerJson, UsageCountsAPromptOnce) {
  generate::Reply reply;
  reply.prompt_tokens = 10;
  reply.cached_tokens = 4;
  reply.ids = {1, 2, 3};
  const json two_each = usage_of({reply, reply, reply, reply}, 2);
  EXPECT_EQ(two_each["prompt_tokens"], 20);
  EXPECT_EQ(two_each["completion_tokens"], 12);
  EXPECT_EQ(two_each["total_tokens"], 32);
  EXPECT_EQ(two_each["prompt_tokens_details"]["cached_tokens"], 8);
}

TEST(AnswerJson, TimingsHaveTheNamesThatPagesRead) {
  generate::Reply reply;
  reply.prompt_tokens = 10;
  reply.cached_tokens = 4;
  reply.prompt_seconds = 0.5;
  reply.ids = {1, 2, 3};
  reply.generate_seconds = 0.25;
  const json timings = timings_of(reply);
  EXPECT_EQ(timings["prompt_n"], 6);
  EXPECT_EQ(timings["cache_n"], 4);
  EXPECT_EQ(timings["prompt_ms"], 500);
  EXPECT_EQ(timings["prompt_per_second"], 12);
  EXPECT_EQ(timings["predicted_n"], 3);
  EXPECT_EQ(timings["predicted_ms"], 250);
  EXPECT_EQ(timings["predicted_per_second"], 8) << "after the first token, which came with the prompt";
  EXPECT_EQ(timings["predicted_per_token_ms"], 125);
}

}  // namespace
}  // namespace salient::serve
