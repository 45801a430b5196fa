#include "generate/generator.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "core/error.h"
#include "tests/support/tiny_runner.h"
#include "tests/support/tiny_tokenizer.h"

namespace salient::generate {
namespace {

using Ids = std::vector<int32_t>;

/// More ids than the tokenizer has, like the padded tables of real models.
constexpr tests::TinyShape kShape{.vocab_size = 320, .tied = false};
constexpr SamplingOptions kGreedy{.temperature = 0};
/// Repeats itself often, but not always.
constexpr SamplingOptions kRepetitive{.temperature = 0.8f, .top_k = 2, .top_p = 1.0f};
constexpr SamplingOptions kFree{.temperature = 1.0f, .top_k = 0, .top_p = 1.0f, .seed = 5};

class GeneratorTest : public testing::Test {
 protected:
  Reply fresh_reply(const Ids& prompt, const GenerateOptions& options) {
    Generator generator(*runner_, tokenizer_, options);
    return generator.reply(prompt, {});
  }
  std::string refusal_of(const Ids& prompt, const GenerateOptions& options) {
    try {
      fresh_reply(prompt, options);
    } catch (const core::Error& error) {
      EXPECT_EQ(error.kind(), core::ErrorKind::kInvalidInput);
      return error.what();
    }
    return "accepted";
  }

  tests::TinyRunner runner_{kShape};
  text::Tokenizer tokenizer_{tests::byte_level_tokenizer(), "tiny"};
  const Ids prompt_ = {'O', 'n', 'c', 'e', ' ', 'u', 'p', 'o', 'n'};
};

TEST_F(GeneratorTest, WritesWhatTheModelFindsMostLikely) {
  Ids text = prompt_;
  for (int i = 0; i < 12; ++i) text.push_back(most_likely(runner_.logits_after(text)));
  const Reply reply = fresh_reply(prompt_, {.sampling = kGreedy, .max_tokens = 12});
  EXPECT_EQ(reply.ids, Ids(text.begin() + std::ssize(prompt_), text.end()));
  EXPECT_EQ(reply.finish, FinishReason::kLength);
  EXPECT_EQ(reply.prompt_tokens, 9);
  EXPECT_EQ(reply.cached_tokens, 0);
}

TEST_F(GeneratorTest, SamplesByPosition) {
  Ids text = prompt_;
  Sampler sampler(kFree);
  for (int i = 0; i < 12; ++i) text.push_back(sampler.choose(runner_.logits_after(text), 0, text.size()));
  const Reply reply = fresh_reply(prompt_, {.sampling = kFree, .max_tokens = 12});
  EXPECT_EQ(reply.ids, Ids(text.begin() + std::ssize(prompt_), text.end()));
}

TEST_F(GeneratorTest, ThePiecesAreTheTextOfTheTokens) {
  Generator generator(*runner_, tokenizer_, {.sampling = kFree, .max_tokens = 200});
  std::string pieces;
  const Reply reply = generator.reply(prompt_, [&](std::string_view piece) {
    EXPECT_FALSE(piece.empty());
    EXPECT_NO_THROW(nlohmann::json(std::string(piece)).dump()) << "not UTF-8";
    pieces += piece;
  });
  EXPECT_EQ(reply.text, pieces);
  EXPECT_EQ(reply.text, tokenizer_.decode(reply.ids, true));
  EXPECT_GT(*std::max_element(reply.ids.begin(), reply.ids.end()), tokenizer_.vocab_size()) << "the case is not tested";
}

TEST_F(GeneratorTest, APromptThatGoesOnFromTheLastOneIsNotReadAgain) {
  const GenerateOptions options{.sampling = kFree, .max_tokens = 20};
  Generator generator(*runner_, tokenizer_, options);
  const Reply first = generator.reply(prompt_, {});
  Ids second = prompt_;
  second.insert(second.end(), first.ids.begin(), first.ids.end());
  for (const char c : std::string(" and then")) second.push_back(c);
  const Reply reply = generator.reply(second, {});
  EXPECT_EQ(reply.cached_tokens, 9 + 19) << "the reply's last token was not needed";
  EXPECT_EQ(reply.ids, fresh_reply(second, options).ids);
}

TEST_F(GeneratorTest, APromptThatSharesItsBeginningIsReadFromThere) {
  const GenerateOptions options{.sampling = kFree, .max_tokens = 20};
  Generator generator(*runner_, tokenizer_, options);
  generator.reply(prompt_, {});
  const Ids other = {'O', 'n', 'c', 'e', ' ', 'a', 'g', 'a', 'i', 'n'};
  const Reply reply = generator.reply(other, {});
  EXPECT_EQ(reply.cached_tokens, 5);
  EXPECT_EQ(reply.ids, fresh_reply(other, options).ids);
  const Reply again = generator.reply(other, {});
  EXPECT_EQ(again.cached_tokens, 9) << "the last token's logits are needed";
  EXPECT_EQ(again.ids, reply.ids);
  const Reply unlike = generator.reply(Ids{'X'}, {});
  EXPECT_EQ(unlike.cached_tokens, 0);
  EXPECT_EQ(unlike.ids, fresh_reply({'X'}, options).ids);
}

TEST_F(GeneratorTest, EndsWhereTheModelEndsItsReply) {
  const Ids free = fresh_reply(prompt_, {.sampling = kFree, .max_tokens = 20}).ids;
  const int32_t end = free[7];
  const auto first = std::find(free.begin(), free.end(), end) - free.begin();
  tests::TinyRunner ending(kShape, {999999, end});
  Generator generator(*ending, tokenizer_, {.sampling = kFree, .max_tokens = 20});
  const Reply reply = generator.reply(prompt_, {});
  EXPECT_EQ(reply.finish, FinishReason::kStop);
  EXPECT_EQ(reply.ids, Ids(free.begin(), free.begin() + first));
}

TEST_F(GeneratorTest, FillsTheContextAndNoMore) {
  const Reply reply = fresh_reply(prompt_, {.sampling = kFree, .context = 30});
  EXPECT_EQ(reply.finish, FinishReason::kLength);
  EXPECT_EQ(reply.ids.size(), 21u);
  EXPECT_EQ(fresh_reply(prompt_, {.sampling = kFree, .context = 10}).ids.size(), 1u);
  const Ids long_prompt(511, 'a');
  EXPECT_EQ(fresh_reply(long_prompt, {.sampling = kFree}).ids.size(), 1u);
}

TEST_F(GeneratorTest, RefusesAPromptThatDoesNotFit) {
  EXPECT_EQ(refusal_of(prompt_, {.sampling = kGreedy, .context = 9}),
            "the prompt has 9 tokens, but the context holds 9, the reply included: shorten the prompt or raise "
            "--context");
  EXPECT_EQ(refusal_of(Ids(600, 'a'), {}),
            "the prompt has 600 tokens, but the context holds 512, the reply included: shorten the prompt");
  EXPECT_EQ(refusal_of({}, {}), "the prompt is empty");
}

TEST_F(GeneratorTest, RefusesAContextTheModelWasNotTrainedFor) {
  EXPECT_EQ(refusal_of(prompt_, {.sampling = kGreedy, .context = 513}),
            "context is 513, expected 1 to 512, the length the model was trained for");
  EXPECT_EQ(refusal_of(prompt_, {.sampling = kGreedy, .context = -1}),
            "context is -1, expected 1 to 512, the length the model was trained for");
  EXPECT_EQ(refusal_of(prompt_, {.sampling = {.top_k = -1}}), "top-k is -1, expected 0 or more");
}

TEST_F(GeneratorTest, ARefusedPromptLeavesItUsable) {
  const GenerateOptions options{.sampling = kFree, .max_tokens = 10};
  Generator generator(*runner_, tokenizer_, options);
  generator.reply(prompt_, {});
  Ids outside = prompt_;
  outside.push_back(320);
  EXPECT_THROW(generator.reply(outside, {}), core::Error);
  EXPECT_THROW(generator.reply(Ids{}, {}), core::Error);
  EXPECT_EQ(generator.reply(prompt_, {}).ids, fresh_reply(prompt_, options).ids);
}

TEST_F(GeneratorTest, AStopRequestEndsTheReply) {
  const GenerateOptions options{.sampling = kFree, .max_tokens = 100};
  const Reply whole = fresh_reply(prompt_, options);
  Generator generator(*runner_, tokenizer_, options);
  std::stop_source source;
  const Reply stopped = generator.reply(
      prompt_, [&](std::string_view) { source.request_stop(); }, source.get_token());
  EXPECT_EQ(stopped.finish, FinishReason::kCancelled);
  EXPECT_LT(stopped.ids.size(), 100u);
  EXPECT_TRUE(std::equal(stopped.ids.begin(), stopped.ids.end(), whole.ids.begin()));
  EXPECT_EQ(generator.reply(prompt_, {}).ids, whole.ids) << "after the stop it goes on as if nothing had been";
}

TEST_F(GeneratorTest, AStopRequestBeforeTheStartGivesNothing) {
  Generator generator(*runner_, tokenizer_, {.sampling = kFree, .max_tokens = 10});
  std::stop_source source;
  source.request_stop();
  const Reply reply = generator.reply(prompt_, {}, source.get_token());
  EXPECT_EQ(reply.finish, FinishReason::kCancelled);
  EXPECT_EQ(reply.ids, Ids{});
  EXPECT_EQ(reply.text, "");
  EXPECT_EQ(generator.reply(prompt_, {}).cached_tokens, 0);
}

TEST_F(GeneratorTest, WhatTheCallbackThrowsLeavesItUsable) {
  const GenerateOptions options{.sampling = kFree, .max_tokens = 10};
  Generator generator(*runner_, tokenizer_, options);
  EXPECT_THROW(generator.reply(prompt_, [](std::string_view) { throw std::logic_error("from the callback"); }),
               std::logic_error);
  EXPECT_EQ(generator.reply(prompt_, {}).ids, fresh_reply(prompt_, options).ids);
}

/// A prompt in which every three tokens stand several times, with different ones after them.
Ids repetitive_prompt() {
  Ids prompt;
  for (int32_t i = 0; i < 60; ++i) prompt.push_back('a' + i * i % 7 % 3);
  return prompt;
}

TEST_F(GeneratorTest, DraftsDoNotChangeTheReply) {
  for (const Ids& prompt : {prompt_, repetitive_prompt()}) {
    for (SamplingOptions sampling : {kGreedy, kRepetitive, kFree}) {
      for (sampling.seed = 0; sampling.seed < 3; ++sampling.seed) {
        const Reply plain =
            fresh_reply(prompt, {.sampling = sampling, .max_tokens = 200, .speculation = Speculation::kOff});
        EXPECT_EQ(plain.drafted_tokens, 0);
        EXPECT_EQ(plain.accepted_tokens, 0);
        for (const Speculation speculation : {Speculation::kWhereFaster, Speculation::kAlways}) {
          const Reply reply =
              fresh_reply(prompt, {.sampling = sampling, .max_tokens = 200, .speculation = speculation});
          EXPECT_EQ(reply.ids, plain.ids) << sampling.temperature << " " << sampling.seed;
          EXPECT_EQ(reply.text, plain.text);
          EXPECT_EQ(reply.finish, plain.finish);
        }
      }
    }
  }
}

TEST_F(GeneratorTest, DraftsAreAcceptedAndRefused) {
  for (const SamplingOptions& sampling : {kGreedy, kRepetitive}) {
    const Reply reply = fresh_reply(repetitive_prompt(),
                                    {.sampling = sampling, .max_tokens = 200, .speculation = Speculation::kAlways});
    EXPECT_GT(reply.accepted_tokens, 0) << sampling.temperature;
    EXPECT_LT(reply.accepted_tokens, reply.drafted_tokens) << sampling.temperature;
    EXPECT_LT(reply.accepted_tokens, std::ssize(reply.ids)) << sampling.temperature;
  }
}

TEST_F(GeneratorTest, DraftsEndWithTheReply) {
  const Ids prompt = repetitive_prompt();
  for (int64_t tokens = 1; tokens <= 40; tokens += 3) {
    const GenerateOptions by_count{.sampling = kRepetitive, .max_tokens = tokens, .speculation = Speculation::kAlways};
    const GenerateOptions by_context{
        .sampling = kRepetitive, .context = std::ssize(prompt) + tokens, .speculation = Speculation::kAlways};
    for (GenerateOptions options : {by_count, by_context}) {
      Generator generator(*runner_, tokenizer_, options);
      const Reply reply = generator.reply(prompt, {});
      options.speculation = Speculation::kOff;
      EXPECT_EQ(reply.ids, fresh_reply(prompt, options).ids);
      EXPECT_EQ(std::ssize(reply.ids), tokens);
    }
  }
}

TEST_F(GeneratorTest, TheModelEndsItsReplyWithinADraftToo) {
  const Ids prompt = repetitive_prompt();
  GenerateOptions options{.sampling = kRepetitive, .max_tokens = 200, .speculation = Speculation::kOff};
  const Ids whole = fresh_reply(prompt, options).ids;
  for (size_t i = 0; i < 60; i += 4) {
    tests::TinyRunner ending(kShape, {whole[i]});
    options.speculation = Speculation::kAlways;
    Generator generator(*ending, tokenizer_, options);
    const Reply reply = generator.reply(prompt, {});
    const auto first = std::find(whole.begin(), whole.end(), whole[i]);
    EXPECT_EQ(reply.ids, Ids(whole.begin(), first)) << i;
    EXPECT_EQ(reply.finish, FinishReason::kStop);
  }
}

TEST_F(GeneratorTest, AStopRequestEndsTheReplyWithinADraftToo) {
  const Ids prompt = repetitive_prompt();
  const GenerateOptions options{.sampling = kGreedy, .max_tokens = 100, .speculation = Speculation::kAlways};
  const Ids whole = fresh_reply(prompt, options).ids;
  Generator generator(*runner_, tokenizer_, options);
  for (size_t pieces = 1; pieces < 30; pieces += 4) {
    std::stop_source source;
    size_t left = pieces;
    const Reply stopped = generator.reply(
        prompt,
        [&](std::string_view) {
          if (--left == 0) source.request_stop();
        },
        source.get_token());
    EXPECT_EQ(stopped.finish, FinishReason::kCancelled);
    EXPECT_LT(stopped.ids.size(), whole.size());
    EXPECT_TRUE(std::equal(stopped.ids.begin(), stopped.ids.end(), whole.begin()));
    EXPECT_EQ(generator.reply(prompt, {}).ids, whole) << "after the stop it goes on as if nothing had been";
  }
}

TEST_F(GeneratorTest, DraftsGoOnFromTheTurnBefore) {
  GenerateOptions options{.sampling = kRepetitive, .max_tokens = 60, .speculation = Speculation::kAlways};
  Generator drafting(*runner_, tokenizer_, options);
  options.speculation = Speculation::kOff;
  Generator plain(*runner_, tokenizer_, options);
  Ids prompt = repetitive_prompt();
  for (int turn = 0; turn < 4; ++turn) {
    const Reply expected = plain.reply(prompt, {});
    const Reply reply = drafting.reply(prompt, {});
    EXPECT_EQ(reply.ids, expected.ids) << turn;
    EXPECT_EQ(reply.cached_tokens, expected.cached_tokens) << turn;
    prompt.insert(prompt.end(), reply.ids.begin(), reply.ids.end());
    for (const char c : std::string("abcab")) prompt.push_back(c);
  }
}

/// The rotary frequencies of this model change for texts of more than 32 tokens, which are then computed again.
TEST_F(GeneratorTest, DraftsStayWithinTheRotaryRegime) {
  const auto folder = std::filesystem::path(SALIENT_SOURCE_DIR) / "tests" / "golden" / "phi4-mini";
  core::ThreadPool pool(2);
  std::vector<int64_t> recomputed;
  runner::CpuRunner runner(
      std::make_shared<model::Decoder>(std::make_shared<checkpoint::Checkpoint>(checkpoint::open_checkpoint(folder))),
      pool, {.progress = [&](const core::Progress& progress) {
        if (progress.unit == "tokens") recomputed.push_back(progress.total);
      }});
  Ids prompt;
  for (int32_t i = 0; i < 24; ++i) prompt.push_back(3 + i % 3);
  for (const SamplingOptions& sampling : {kGreedy, kRepetitive}) {
    std::vector<Reply> replies;
    for (const Speculation speculation : {Speculation::kOff, Speculation::kAlways}) {
      recomputed.clear();
      Generator generator(runner, tokenizer_, {.sampling = sampling, .max_tokens = 60, .speculation = speculation});
      replies.push_back(generator.reply(prompt, {}));
      EXPECT_EQ(recomputed, std::vector<int64_t>{32});
    }
    EXPECT_EQ(replies[1].ids, replies[0].ids);
    EXPECT_GT(replies[1].accepted_tokens, 0);
  }
}

TEST(FinishReasonNames, AreStable) {
  EXPECT_STREQ(name_of(FinishReason::kStop), "stop");
  EXPECT_STREQ(name_of(FinishReason::kLength), "length");
  EXPECT_STREQ(name_of(FinishReason::kCancelled), "cancelled");
}

TEST(Reply, CountsTokensASecondAfterTheFirst) {
  Reply reply;
  reply.generate_seconds = 2;
  EXPECT_EQ(reply.tokens_per_second(), 0);
  reply.ids = {1};
  EXPECT_EQ(reply.tokens_per_second(), 0);
  reply.ids = {1, 2, 3, 4, 5};
  EXPECT_EQ(reply.tokens_per_second(), 2);
}

}  // namespace
}  // namespace salient::generate
