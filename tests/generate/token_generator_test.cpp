#include "generate/token_generator.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "core/error.h"
#include "generate/batch.h"
#include "tests/support/tiny_runner.h"
#include "tests/support/tiny_tokenizer.h"

namespace salient::generate {
namespace {

using Ids = std::vector<int32_t>;

constexpr tests::TinyShape kShape{.vocab_size = 320, .tied = false};
constexpr SamplingOptions kGreedy{.temperature = 0};
constexpr SamplingOptions kFree{.temperature = 1.0f, .top_k = 0, .top_p = 1.0f, .seed = 5};

class TokenGeneratorTest : public testing::Test {
 protected:
  Ids write(TokenGenerator& generator, int tokens) {
    Ids ids;
    for (int i = 0; i < tokens; ++i) ids.push_back(generator.next().id);
    return ids;
  }
  Ids fresh(const Ids& prompt, const GenerateOptions& options, int tokens) {
    TokenGenerator generator(*runner_, options);
    generator.append(prompt);
    return write(generator, tokens);
  }

  tests::TinyRunner runner_{kShape};
  text::Tokenizer tokenizer_{tests::byte_level_tokenizer(), "tiny"};
  const Ids prompt_ = {'O', 'n', 'c', 'e', ' ', 'u', 'p', 'o', 'n'};
};

TEST_F(TokenGeneratorTest, HoldsTheLogitsOfTheTextSoFar) {
  TokenGenerator generator(*runner_, {.sampling = kFree});
  generator.append(prompt_);
  for (int i = 0; i < 10; ++i) {
    const auto expected = runner_.logits_after(generator.tokens());
    EXPECT_TRUE(std::equal(expected.begin(), expected.end(), generator.logits().begin())) << i;
    generator.next();
  }
}

TEST_F(TokenGeneratorTest, APromptInPartsIsTheSamePrompt) {
  TokenGenerator generator(*runner_, {.sampling = kFree});
  generator.append(std::span(prompt_).first(4));
  generator.append(std::span(prompt_).subspan(4));
  EXPECT_EQ(generator.prompt_tokens(), 9);
  EXPECT_EQ(write(generator, 10), fresh(prompt_, {.sampling = kFree}, 10));
}

TEST_F(TokenGeneratorTest, GoesOnAfterAReplyWhoseLastTokenWasNotComputed) {
  TokenGenerator generator(*runner_, {.sampling = kFree});
  generator.append(prompt_);
  write(generator, 5);
  const Ids more = {' ', 'a'};
  generator.append(more);
  Ids whole = generator.tokens();
  EXPECT_EQ(whole.size(), 9u + 5 + 2);
  EXPECT_EQ(write(generator, 5), fresh(whole, {.sampling = kFree}, 5));
}

TEST_F(TokenGeneratorTest, ARewoundTextGoesOnAsItDid) {
  for (const Speculation speculation : {Speculation::kOff, Speculation::kAlways}) {
    TokenGenerator generator(*runner_, {.sampling = kFree, .speculation = speculation});
    generator.append(prompt_);
    const Ids ids = write(generator, 12);
    for (const int64_t kept : {20, 15, 10, 9, 3, 1}) {
      generator.rewind(kept);
      Ids text = prompt_;
      text.insert(text.end(), ids.begin(), ids.end());
      text.resize(kept);
      EXPECT_EQ(generator.tokens(), text);
      EXPECT_EQ(generator.prompt_tokens(), std::min<int64_t>(kept, 9));
      EXPECT_EQ(generator.next().id, fresh(text, {.sampling = kFree}, 1)[0]) << kept;
      generator.rewind(kept);
    }
    EXPECT_THROW(generator.rewind(2), core::Error);
    EXPECT_THROW(generator.rewind(-1), core::Error);
    generator.rewind(0);
    EXPECT_THROW(generator.next(), core::Error) << "there is no text";
    generator.append(prompt_);
    EXPECT_EQ(write(generator, 12), ids);
  }
}

TEST_F(TokenGeneratorTest, AnEndTokenIsGivenButNotAppended) {
  const Ids free = fresh(prompt_, {.sampling = kFree}, 20);
  const auto first = std::find(free.begin(), free.end(), free[7]) - free.begin();
  TokenGenerator generator(*runner_, {.sampling = kFree, .ends = Ids{free[7]}});
  generator.append(prompt_);
  write(generator, static_cast<int>(first));
  EXPECT_FALSE(generator.finish());
  EXPECT_EQ(generator.next().id, free[7]);
  EXPECT_EQ(generator.finish(), FinishReason::kStop);
  EXPECT_EQ(std::ssize(generator.tokens()), 9 + first);
  EXPECT_EQ(generator.next().id, free[7]) << "it is chosen again";
  generator.append(Ids{'x'});
  EXPECT_FALSE(generator.finish());
}

TEST_F(TokenGeneratorTest, NoEndComesBeforeTheLeastLength) {
  const Ids free = fresh(prompt_, {.sampling = kGreedy}, 1);
  TokenGenerator generator(*runner_, {.sampling = kGreedy, .min_length = 12, .ends = free});
  generator.append(prompt_);
  EXPECT_EQ(write(generator, 3).size(), 3u);
  EXPECT_EQ(generator.tokens().size(), 12u);
  EXPECT_EQ(std::count(generator.tokens().begin() + 9, generator.tokens().end(), free[0]), 0);
}

TEST_F(TokenGeneratorTest, RefusesMoreThanItsLength) {
  TokenGenerator generator(*runner_, {.sampling = kGreedy, .max_tokens = 3});
  generator.append(prompt_);
  write(generator, 3);
  EXPECT_EQ(generator.finish(), FinishReason::kLength);
  try {
    generator.next();
    FAIL();
  } catch (const core::Error& error) {
    EXPECT_STREQ(error.what(), "the text has 12 tokens, the most it may have");
  }
  generator.rewind(11);
  EXPECT_FALSE(generator.finish());
  write(generator, 1);
}

TEST_F(TokenGeneratorTest, ATokenOutsideTheVocabularyLeavesTheTextAsItWas) {
  TokenGenerator generator(*runner_, {.sampling = kFree});
  generator.append(prompt_);
  const Ids before = write(generator, 3);
  EXPECT_THROW(generator.append(Ids{'a', 320}), core::Error);
  EXPECT_EQ(generator.tokens().size(), 12u);
  const Ids after = write(generator, 3);
  EXPECT_EQ(fresh(prompt_, {.sampling = kFree}, 6),
            (Ids{before[0], before[1], before[2], after[0], after[1], after[2]}));
}

TEST_F(TokenGeneratorTest, ChoosesFromLogitsThatAreSet) {
  TokenGenerator generator(*runner_, {.sampling = kGreedy});
  generator.append(prompt_);
  std::vector<float> logits(320, 0.0f);
  logits[77] = 1;
  generator.set_logits(logits);
  EXPECT_EQ(generator.next().id, 77);
  Ids text = prompt_;
  text.push_back(77);
  EXPECT_EQ(generator.next().id, fresh(text, {.sampling = kGreedy}, 1)[0]);
  EXPECT_THROW(generator.set_logits(std::vector<float>(319)), core::Error);
}

TEST_F(TokenGeneratorTest, PenaltiesAreThoseOfTheTextAndTheReply) {
  const SamplingOptions sampling{.temperature = 0, .presence_penalty = 2, .no_repeat_ngram_size = 2};
  Ids text = prompt_;
  for (int i = 0; i < 20; ++i) {
    auto logits = runner_.logits_after(text);
    change_logits(sampling, {}, {text, 9}, logits);
    text.push_back(most_likely(logits));
  }
  for (const Speculation speculation : {Speculation::kOff, Speculation::kAlways}) {
    EXPECT_EQ(fresh(prompt_, {.sampling = sampling, .speculation = speculation}, 20),
              Ids(text.begin() + 9, text.end()));
  }
}

TEST_F(TokenGeneratorTest, AnotherStreamIsAnotherText) {
  const Ids first = fresh(prompt_, {.sampling = kFree}, 20);
  EXPECT_EQ(fresh(prompt_, {.sampling = kFree, .stream = 0}, 20), first);
  EXPECT_NE(fresh(prompt_, {.sampling = kFree, .stream = 1}, 20), first);
}

TEST_F(TokenGeneratorTest, SaysWhenEverythingIsForbidden) {
  LogitBias bias;
  for (int32_t i = 0; i < 320; ++i) bias[i] = -std::numeric_limits<float>::infinity();
  TokenGenerator generator(*runner_, {.sampling = kGreedy, .logit_bias = bias});
  generator.append(prompt_);
  try {
    generator.next();
    FAIL();
  } catch (const core::Error& error) {
    EXPECT_STREQ(error.what(), "no token may follow: penalties, biases and grammar forbid all of them");
  }
}

TEST_F(TokenGeneratorTest, AFullTextStaysFullWhereItIsRewoundToItsEnd) {
  TokenGenerator generator(*runner_, {.sampling = kFree, .context = std::ssize(prompt_) + 1});
  generator.append(prompt_);
  generator.next();
  generator.rewind(std::ssize(prompt_) + 1);
  EXPECT_EQ(generator.finish(), FinishReason::kLength);
  EXPECT_THROW(generator.next(), core::Error);
  generator.rewind(std::ssize(prompt_));
  EXPECT_EQ(generator.finish(), std::nullopt);
  generator.next();
}

TEST_F(TokenGeneratorTest, ABiasOfNoTokenIsRefused) {
  for (const int32_t token : {-1, 320}) {
    try {
      TokenGenerator(*runner_, {.sampling = kFree, .logit_bias = {{token, 1.0f}}});
      ADD_FAILURE() << token;
    } catch (const core::Error& error) {
      EXPECT_EQ(error.what(),
                "token " + std::to_string(token) + " of the logit bias is outside the model's vocabulary of 320");
    }
  }
}

TEST_F(TokenGeneratorTest, StopStringsEndReplies) {
  Generator free(*runner_, tokenizer_, {.sampling = kFree, .max_tokens = 40});
  const Reply whole = free.reply(prompt_, {});
  // A part of what the model writes, a character or two in from a piece's border.
  const std::string stop = whole.text.substr(10, 3);
  Generator stopping(*runner_, tokenizer_, {.sampling = kFree, .max_tokens = 40, .stop_strings = {"never", stop}});
  std::string pieces;
  const Reply reply = stopping.reply(prompt_, [&](std::string_view piece) { pieces += piece; });
  EXPECT_EQ(reply.text, whole.text.substr(0, whole.text.find(stop)));
  EXPECT_EQ(pieces, reply.text);
  EXPECT_EQ(reply.finish, FinishReason::kStop);
}

TEST_F(TokenGeneratorTest, ABatchWritesWhatEachPromptGetsAlone) {
  const std::vector<Ids> prompts = {prompt_, {'X'}, {'a', 'b', 'c', 'a', 'b', 'c'}, prompt_};
  const GenerateOptions options{.sampling = kFree, .max_tokens = 25, .ends = Ids{'e'}, .top_log_probabilities = 2};
  std::vector<std::string> pieces(prompts.size());
  const auto replies = reply_to_batch(*runner_, tokenizer_, prompts, options,
                                      [&](size_t index, std::string_view piece) { pieces[index] += piece; }, {});
  ASSERT_EQ(replies.size(), prompts.size());
  for (size_t i = 0; i < prompts.size(); ++i) {
    Generator generator(*runner_, tokenizer_, options);
    const Reply expected = generator.reply(prompts[i], {});
    EXPECT_EQ(replies[i].ids, expected.ids) << i;
    EXPECT_EQ(replies[i].text, expected.text);
    EXPECT_EQ(pieces[i], expected.text);
    EXPECT_EQ(replies[i].finish, expected.finish);
    ASSERT_EQ(replies[i].log_probabilities.size(), expected.ids.size());
    EXPECT_EQ(replies[i].log_probabilities.back().chosen.log_probability,
              expected.log_probabilities.back().chosen.log_probability);
  }
  EXPECT_TRUE(reply_to_batch(*runner_, tokenizer_, {}, options, {}, {}).empty());
}

TEST_F(TokenGeneratorTest, AStoppedBatchIsCancelled) {
  std::stop_source source;
  const std::vector<Ids> prompts = {prompt_, {'X'}};
  const auto replies = reply_to_batch(
      *runner_, tokenizer_, prompts, {.sampling = kFree, .max_tokens = 25},
      [&](size_t, std::string_view) { source.request_stop(); }, source.get_token());
  for (const Reply& reply : replies) EXPECT_EQ(reply.finish, FinishReason::kCancelled);
}

}  // namespace
}  // namespace salient::generate
