#include "quantize/gram.h"

#include <gtest/gtest.h>

#include "tests/quantize/reference.h"

namespace salient::quantize {
namespace {

/// What an accumulator makes of X, given to it in pieces of these sizes.
GramAccumulator accumulate(const Matrix& x, const std::vector<int64_t>& pieces, core::ThreadPool& pool) {
  GramAccumulator accumulator(x.columns, pool);
  int64_t done = 0;
  for (const int64_t piece : pieces) {
    accumulator.add(x.row(done), piece);
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

TEST(GramAccumulator, IsZeroBeforeAnythingWasAdded) {
  core::ThreadPool pool(1);
  const GramAccumulator accumulator(20, pool);
  EXPECT_EQ(accumulator.gram().values, std::vector<float>(400));
  EXPECT_EQ(accumulator.mean_magnitudes(), std::vector<float>(20));
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

TEST(QuadraticForm, IsTheDoubleSumOverABlock) {
  const Matrix gram = gram_of(random_matrix(150, 100, 6));
  constexpr int64_t kStride = 110;
  const Matrix deltas = random_matrix(5, kStride, 7);
  struct Block {
    int64_t first;
    int64_t size;
  };
  for (const Block block : {Block{0, 100}, Block{32, 32}, Block{60, 40}, Block{3, 17}}) {
    std::vector<float> scratch(5 * block.size);
    std::vector<double> losses(5);
    QuadraticForm(gram, block.first, block.size)
        .evaluate(deltas.values.data(), 5, kStride, scratch.data(), losses.data());
    for (int64_t row = 0; row < 5; ++row) {
      const double expected = quadratic(gram, deltas.row(row), block.first, block.size);
      EXPECT_NEAR(losses[row], expected, 1e-5 * expected) << block.size << " from " << block.first;
    }
  }
}

}  // namespace
}  // namespace salient::quantize
