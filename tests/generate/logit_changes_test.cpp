#include "generate/logit_changes.h"

#include <gtest/gtest.h>

#include <limits>

#include "core/error.h"

namespace salient::generate {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
using Logits = std::vector<float>;

Logits changed(const SamplingOptions& options, const LogitBias& bias, const std::vector<int32_t>& text,
               int64_t prompt_tokens, Logits logits) {
  EXPECT_TRUE(changes_logits(options, bias));
  change_logits(options, bias, {text, prompt_tokens}, logits);
  return logits;
}

TEST(LogitChanges, AreNoneByDefault) {
  EXPECT_FALSE(changes_logits({}, {}));
}

TEST(LogitChanges, TheRepetitionPenaltyCountsEachTokenOnceAndThePromptToo) {
  // CTRL's rule: positive logits are divided, negative ones multiplied.
  EXPECT_EQ(changed({.repetition_penalty = 2}, {}, {0, 1, 1, 3}, 2, {4, -4, 4, 0}), (Logits{2, -8, 4, 0}));
}

TEST(LogitChanges, PresenceAndFrequencyCountTheReplyAlone) {
  // OpenAI's rule: logit - count * frequency - (count > 0) * presence.
  EXPECT_EQ(changed({.presence_penalty = 1, .frequency_penalty = 0.5f}, {}, {0, 0, 1, 1, 2}, 2, {9, 9, 9, 9}),
            (Logits{9, 7, 7.5f, 9}));
}

TEST(LogitChanges, NoNgramStandsTwice) {
  const std::vector<int32_t> text = {1, 2, 3, 1, 2, 0, 1, 2};
  EXPECT_EQ(changed({.no_repeat_ngram_size = 3}, {}, text, 0, {5, 5, 5, 5}), (Logits{-kInfinity, 5, 5, -kInfinity}));
  EXPECT_EQ(changed({.no_repeat_ngram_size = 1}, {}, {2, 1}, 0, {5, 5, 5, 5}), (Logits{5, -kInfinity, -kInfinity, 5}));
  EXPECT_EQ(changed({.no_repeat_ngram_size = 9}, {}, text, 0, {5, 5, 5, 5}), (Logits{5, 5, 5, 5}));
  EXPECT_EQ(changed({.no_repeat_ngram_size = 3}, {}, {}, 0, {5, 5}), (Logits{5, 5}));
}

TEST(LogitChanges, ABiasIsAddedAndCanForbid) {
  EXPECT_EQ(changed({}, {{0, 1.5f}, {2, -kInfinity}, {99, 1.0f}, {-1, 1.0f}}, {}, 0, {1, 1, 1}),
            (Logits{2.5f, 1, -kInfinity}));
  EXPECT_THROW(check(LogitBias{{0, kInfinity}}), core::Error);
  EXPECT_THROW(check(LogitBias{{0, std::numeric_limits<float>::quiet_NaN()}}), core::Error);
  EXPECT_NO_THROW(check(LogitBias{{0, -kInfinity}}));
}

TEST(LogitChanges, TokensTheModelDoesNotHaveAreIgnored) {
  EXPECT_EQ(changed({.repetition_penalty = 2, .frequency_penalty = 1, .no_repeat_ngram_size = 1}, {}, {7, -3}, 0, {4}),
            (Logits{4}));
}

}  // namespace
}  // namespace salient::generate
