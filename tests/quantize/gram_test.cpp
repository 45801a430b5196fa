#include "quantize/gram.h"

#include <gtest/gtest.h>

#include "tests/quantize/reference.h"

namespace salient::quantize {
namespace {

/// What an accumulator makes of X, given to it in pieces of these sizes.
GramAccumulator accumulate(const Matrix& x, const std::vector<int64_t>& pieces, core::ThreadPool& pool) {
  GramAccumulator accumulator(x.columns, GramAccumulator::Drift::kNone, pool);
  int64_t done = 0;
  for (const int64_t piece : pieces) {
    accumulator.add(x.row(done), nullptr, piece);
    done += piece;
  }
  EXPECT_EQ(done, x.rows);
  EXPECT_EQ(accumulator.tokens(), x.rows);
  return accumulator;
}

TEST(GramAccumulator, IsTheMeanOverTokensOfXTransposedX) {
  core::ThreadPool pool(2);
  for (const int64_t width : {16, 40, 64, 100, 150}) {
    Matrix x = random_matrix(700, width, 3);
    // Inputs of very different sizes, as models have them.
    for (int64_t token = 0; token < x.rows; ++token) {
      for (int64_t i = 0; i < width; ++i) x.row(token)[i] *= i % 7 == 0 ? 30.0f : 0.1f;
    }
    const Matrix expected = gram_of(x);
    const Matrix gram = accumulate(x, {1, 600, 16, 83}, pool).gram();
    ASSERT_EQ(gram.rows, width);
    ASSERT_EQ(gram.columns, width);
    for (int64_t i = 0; i < width; ++i) {
      for (int64_t j = 0; j < width; ++j) {
        ASSERT_NEAR(gram.row(i)[j], expected.row(i)[j], 1e-5 * std::sqrt(expected.row(i)[i] * expected.row(j)[j]))
            << i << ", " << j << " of " << width;
        ASSERT_EQ(gram.row(i)[j], gram.row(j)[i]);
      }
    }
  }
}

TEST(GramAccumulator, KnowsTheMeanMagnitudeOfEachInput) {
  core::ThreadPool pool(2);
  const Matrix x = random_matrix(530, 24, 4);
  const auto means = accumulate(x, {500, 30}, pool).mean_magnitudes();
  const auto expected = magnitudes_of(x);
  ASSERT_EQ(means.size(), expected.size());
  for (size_t i = 0; i < means.size(); ++i) EXPECT_FLOAT_EQ(means[i], expected[i]);
}

TEST(EffectiveRank, IsTheNumberOfDirectionsThatAreAlikeInSize) {
  constexpr int64_t kWidth = 32;
  Matrix identity(kWidth, kWidth);
  for (int64_t i = 0; i < kWidth; ++i) identity.row(i)[i] = i == 3 ? 900.0f : 0.5f;
  EXPECT_DOUBLE_EQ(effective_rank(identity), kWidth) << "inputs of any size that know nothing of each other";
  const Matrix one = random_matrix(1, kWidth, 5);
  EXPECT_NEAR(effective_rank(gram_of(one)), 1, 1e-5) << "one token";
  // Four blocks of inputs that are all the same.
  Matrix blocks(kWidth, kWidth);
  for (int64_t i = 0; i < kWidth; ++i) {
    for (int64_t j = 0; j < kWidth; ++j) blocks.row(i)[j] = i / 8 == j / 8 ? 2.0f : 0.0f;
  }
  EXPECT_DOUBLE_EQ(effective_rank(blocks), 4);
  EXPECT_EQ(effective_rank(Matrix(kWidth, kWidth)), 0);
  blocks.row(0)[0] = 0;  // an input that is always 0 has no say
  for (int64_t i = 1; i < 8; ++i) blocks.row(0)[i] = blocks.row(i)[0] = 0;
  EXPECT_DOUBLE_EQ(effective_rank(blocks), 31.0 * 31.0 / (7 * 7 + 3 * 8 * 8));
}

TEST(EffectiveRank, OfIndependentInputsGrowsWithTokensTowardsTheirNumber) {
  // n tokens of w independent inputs: the mean square of a correlation is 1 / n, so w / (1 + (w - 1) / n).
  constexpr int64_t kWidth = 64;
  for (const int64_t tokens : {16, 64, 256, 4096}) {
    const Matrix x = random_matrix(tokens, kWidth, 9);
    const double expected = kWidth / (1 + (kWidth - 1.0) / static_cast<double>(tokens));
    EXPECT_NEAR(effective_rank(gram_of(x)), expected, 0.05 * expected) << tokens;
  }
}

TEST(GramAccumulator, IsZeroBeforeAnythingWasAdded) {
  core::ThreadPool pool(1);
  const GramAccumulator accumulator(20, GramAccumulator::Drift::kKept, pool);
  EXPECT_EQ(accumulator.gram().values, std::vector<float>(400));
  EXPECT_EQ(accumulator.drift().values, std::vector<float>(400));
  EXPECT_EQ(accumulator.mean_magnitudes(), std::vector<float>(20));
}

TEST(GramAccumulator, KeepsHowFarInputsAreFromThoseOfTheUnquantizedModel) {
  constexpr int64_t kWidth = 100;
  const Matrix x = random_matrix(620, kWidth, 8);
  const Matrix unquantized = random_matrix(620, kWidth, 9);
  Matrix one_drift;
  for (const int threads : {1, 2}) {
    core::ThreadPool pool(threads);
    GramAccumulator accumulator(kWidth, GramAccumulator::Drift::kKept, pool);
    accumulator.add(x.row(0), unquantized.row(0), 600);
    accumulator.add(x.row(600), unquantized.row(600), 20);
    const Matrix drift = accumulator.drift();
    for (int64_t i = 0; i < kWidth; ++i) {
      for (int64_t j = 0; j < kWidth; ++j) {
        double sum = 0;
        for (int64_t t = 0; t < x.rows; ++t) sum += (double{unquantized.row(t)[i]} - x.row(t)[i]) * x.row(t)[j];
        ASSERT_NEAR(drift.row(i)[j], sum / static_cast<double>(x.rows), 1e-5) << i << ", " << j;
      }
    }
    if (threads == 1) one_drift = drift;
    EXPECT_EQ(drift.values, one_drift.values);
  }
  core::ThreadPool pool(1);
  EXPECT_EQ(accumulate(x, {620}, pool).drift().rows, 0);
}

TEST(GramAccumulator, GivesTheSameBitsForAnyNumberOfThreads) {
  const Matrix x = random_matrix(90, 200, 5);
  core::ThreadPool one(1);
  const auto expected = accumulate(x, {50, 40}, one);
  for (const int threads : {2, 3}) {
    core::ThreadPool pool(threads);
    const auto accumulator = accumulate(x, {50, 40}, pool);
    EXPECT_EQ(accumulator.gram().values, expected.gram().values);
    EXPECT_EQ(accumulator.mean_magnitudes(), expected.mean_magnitudes());
  }
}

TEST(RegularizeGramTest, TakesFromWhatIsOffTheDiagonalAndAddsToWhatIsOnIt) {
  Matrix gram(2, 2);
  gram.values = {1, 2, 2, 7};
  regularize_gram(gram, 0.25f, 0.5f);
  EXPECT_EQ(gram.values, (std::vector<float>{3, 1.5f, 1.5f, 9}));
  regularize_gram(gram, 0, 0);
  EXPECT_EQ(gram.values, (std::vector<float>{3, 1.5f, 1.5f, 9}));
}

}  // namespace
}  // namespace salient::quantize
