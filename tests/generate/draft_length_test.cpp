#include "generate/draft_length.h"

#include <gtest/gtest.h>

namespace salient::generate {
namespace {

/// Passes of which each token beyond the first costs `share` of a single one.
void measure(DraftLength& length, double share) {
  for (int i = 0; i < 100; ++i) {
    length.count_forward(1, 0.010);
    length.count_forward(9, 0.010 * (1 + 8 * share));
  }
}

void count_guesses(DraftLength& length, bool right) {
  for (int i = 0; i < 200; ++i) {
    for (int64_t match = 3; match < 60; ++match) length.count_guess(match, right);
  }
}

TEST(DraftLength, GuessesThatAreRightAreDraftedInFull) {
  DraftLength length;
  measure(length, 0.2);
  count_guesses(length, true);
  for (const int64_t match : {3, 7, 8, 16, 1000}) EXPECT_EQ(length.choose(match), DraftLength::kLongestDraft);
}

TEST(DraftLength, GuessesThatAreWrongAreNotDraftedUntilTheyProveRight) {
  DraftLength length;
  measure(length, 0.2);
  count_guesses(length, false);
  for (const int64_t match : {3, 7, 8, 16, 1000}) EXPECT_EQ(length.choose(match), 0);
  count_guesses(length, true);
  EXPECT_EQ(length.choose(16), DraftLength::kLongestDraft);
}

TEST(DraftLength, TakesWhatGivesMostTokensForItsCost) {
  // Half of the guesses are right.
  DraftLength length;
  for (int i = 0; i < 2000; ++i) {
    for (const int64_t match : {3, 4, 5, 6, 7, 8, 16}) length.count_guess(match, i % 2 == 0);
  }
  measure(length, 0.15);
  const int64_t cheap = length.choose(16);
  measure(length, 0.3);
  const int64_t dear = length.choose(16);
  EXPECT_EQ(cheap, 2) << "1.5 / 1.15 = 1.304, 1.75 / 1.30 = 1.346, 1.875 / 1.45 = 1.293";
  EXPECT_EQ(dear, 1) << "1.5 / 1.3 = 1.154, 1.75 / 1.6 = 1.094";
  measure(length, 0.5);
  EXPECT_EQ(length.choose(16), 0) << "1.5 / 1.5 gains nothing";
}

TEST(DraftLength, MatchLengthsAreCountedApart) {
  DraftLength length;
  measure(length, 0.2);
  for (int i = 0; i < 100; ++i) {
    length.count_guess(3, false);
    for (int64_t match = 4; match < 60; ++match) length.count_guess(match, true);
  }
  EXPECT_EQ(length.choose(3), 0);
  EXPECT_EQ(length.choose(4), DraftLength::kLongestDraft);
}

TEST(DraftLength, NothingIsDraftedWhereTokensTogetherCostAsMuchAsOneByOne) {
  DraftLength length;
  measure(length, 1.0);
  count_guesses(length, true);
  EXPECT_EQ(length.choose(16), 0);
}

TEST(DraftLength, WhatDraftsCostIsForgottenWithoutThem) {
  DraftLength length;
  measure(length, 1.0);
  count_guesses(length, true);
  for (int i = 0; i < 500; ++i) length.count_forward(1, 0.010);
  EXPECT_GT(length.choose(16), 0);
}

TEST(DraftLength, ANewTextForgetsGuessesButNotCosts) {
  DraftLength dear;
  measure(dear, 1.0);
  DraftLength cheap;
  measure(cheap, 0.1);
  for (DraftLength* length : {&dear, &cheap}) {
    count_guesses(*length, false);
    length->start_text();
  }
  EXPECT_EQ(dear.choose(16), 0);
  EXPECT_GT(cheap.choose(16), 0);
}

TEST(DraftLength, TheFirstPassMayBeADraft) {
  DraftLength length;
  length.count_forward(9, 1.0);
  length.count_forward(1, 0.010);
  length.count_forward(1, 10.0);
  count_guesses(length, true);
  EXPECT_EQ(length.choose(16), DraftLength::kLongestDraft);
}

}  // namespace
}  // namespace salient::generate
