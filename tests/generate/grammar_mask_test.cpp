#include "generate/grammar_mask.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string>

#include "core/error.h"
#include "generate/generator.h"
#include "generate/grammar_compiler.h"
#include "generate/scheduler.h"
#include "tests/support/expect_error.h"
#include "tests/support/tiny_runner.h"
#include "tests/support/tiny_tokenizer.h"

namespace salient::generate {
namespace {

using nlohmann::json;

constexpr tests::TinyShape kShape{.vocab_size = 320, .tied = false};
constexpr const char* kSchema = R"({
  "type": "object",
  "properties": {
    "name": {"type": "string", "maxLength": 12},
    "age": {"type": "integer", "minimum": 0, "maximum": 120},
    "mood": {"enum": ["glad", "sad"]},
    "children": {"type": "array", "items": {"$ref": "#/$defs/child"}, "maxItems": 3}
  },
  "$defs": {"child": {"type": "object", "properties": {"name": {"type": "string", "maxLength": 4}},
                      "required": ["name"], "additionalProperties": false}},
  "required": ["name", "age", "mood", "children"],
  "additionalProperties": false
})";

int64_t characters(const json& text) {
  const auto& bytes = text.get_ref<const std::string&>();
  return std::count_if(bytes.begin(), bytes.end(), [](unsigned char c) { return (c & 0xC0) != 0x80; });
}

/// What the schema says, spelled out.
void expect_valid(const std::string& text) {
  const json value = json::parse(text, nullptr, false);
  ASSERT_TRUE(value.is_object()) << text;
  ASSERT_EQ(value.size(), 4u) << text;
  EXPECT_LE(characters(value.at("name")), 12) << text;
  ASSERT_TRUE(value.at("age").is_number()) << text;
  const auto age = value["age"].get<double>();
  EXPECT_TRUE(age >= 0 && age <= 120 && age == std::floor(age)) << text;
  EXPECT_TRUE(value.at("mood") == "glad" || value.at("mood") == "sad") << text;
  ASSERT_LE(value.at("children").size(), 3u) << text;
  for (const json& child : value["children"]) {
    ASSERT_EQ(child.size(), 1u) << text;
    EXPECT_LE(characters(child.at("name")), 4) << text;
  }
}

class GrammarMaskTest : public testing::Test {
 protected:
  std::shared_ptr<GrammarMask> mask(const char* kind = "json_schema", const char* text = kSchema) {
    return compiler_.compile({kind, text}, {256});
  }
  /// Every token that may come next is as likely as the random weights make it.
  GenerateOptions options(uint64_t seed, Speculation speculation = Speculation::kOff) {
    return {.sampling = {.temperature = 1.0f, .top_k = 0, .top_p = 1.0f, .seed = seed},
            .speculation = speculation,
            .ends = std::vector<int32_t>{256},
            .mask = mask()};
  }

  tests::TinyRunner runner_{kShape, {256}};
  const std::string tokenizer_json_ = tests::byte_level_tokenizer();
  text::Tokenizer tokenizer_{tokenizer_json_, "tiny"};
  GrammarCompiler compiler_{tokenizer_json_, 320, "tiny"};
  const std::vector<int32_t> prompt_ = {'a', 'b', '"', 'a', 'b', '"'};
};

TEST_F(GrammarMaskTest, WhateverAModelLikesBestItsReplyIsValid) {
  for (uint64_t seed = 0; seed < 25; ++seed) {
    const Reply plain = Generator(*runner_, tokenizer_, options(seed)).reply(prompt_, {});
    EXPECT_EQ(plain.finish, FinishReason::kStop) << seed;
    expect_valid(plain.text);
    const Reply drafted = Generator(*runner_, tokenizer_, options(seed, Speculation::kAlways)).reply(prompt_, {});
    EXPECT_EQ(drafted.ids, plain.ids) << "drafts change nothing";
    EXPECT_GT(drafted.drafted_tokens, 0);
  }
}

TEST_F(GrammarMaskTest, ATextThatGoesBackGoesOnInTheGrammar) {
  Generator generator(*runner_, tokenizer_, options(3, Speculation::kAlways));
  const Reply whole = generator.reply(prompt_, {});
  for (const size_t kept : {whole.ids.size() - 1, whole.ids.size() / 2, size_t{1}, size_t{0}}) {
    generator.rewind(std::ssize(prompt_) + static_cast<int64_t>(kept));
    Reply rest;
    while (!generator.finish()) generator.next_into(rest);
    std::vector<int32_t> ids(whole.ids.begin(), whole.ids.begin() + static_cast<int64_t>(kept));
    ids.insert(ids.end(), rest.ids.begin(), rest.ids.end());
    EXPECT_EQ(ids, whole.ids) << kept;
  }
}

TEST_F(GrammarMaskTest, TheSchedulerKeepsEachReplyToItsOwn) {
  Scheduler scheduler(*runner_, tokenizer_, runner_->pool(),
                      {.most_running = 6, .most_pages = 12, .most_step_prompt = 16});
  const auto digits = mask("regex", "[0-9]{3}");
  std::vector<std::string> texts(9);
  std::vector<FinishReason> ends(9, FinishReason::kCancelled);
  for (uint64_t i = 0; i < texts.size(); ++i) {
    ReplyRequest request;
    request.prompt = prompt_;
    request.sampling = options(i).sampling;
    request.max_tokens = 400;
    if (i % 3 == 0) request.mask = mask();
    if (i % 3 == 1) request.mask = digits->for_another_reply();
    request.on_update = [&, i](ReplyUpdate update) {
      texts[i] += update.text;
      EXPECT_FALSE(update.failure);
      if (update.reply) ends[i] = update.reply->finish;
    };
    scheduler.submit(std::move(request));
  }
  while (scheduler.step()) {
  }
  for (size_t i = 0; i < texts.size(); ++i) {
    if (i % 3 == 0) expect_valid(texts[i]);
    if (i % 3 == 1) {
      EXPECT_EQ(texts[i].size(), 3u);
      EXPECT_EQ(texts[i].find_first_not_of("0123456789"), std::string::npos) << texts[i];
    }
    if (i % 3 == 2) continue;
    EXPECT_EQ(ends[i], FinishReason::kStop);
    GenerateOptions alone = options(i);
    if (i % 3 == 1) alone.mask = digits->for_another_reply();
    EXPECT_EQ(Generator(*runner_, tokenizer_, alone).reply(prompt_, {}).text, texts[i]);
  }
}

TEST_F(GrammarMaskTest, AModelThatNeverEndsIsRefused) {
  tests::expect_error(core::ErrorKind::kUnsupported, {"tiny: names no token that ends a reply"}, [&] {
    compiler_.compile({"regex", "a"}, {});
  });
}

}  // namespace
}  // namespace salient::generate
