#include "quantize/cholesky.h"

#include <gtest/gtest.h>

#include <limits>
#include <numeric>

#include "core/error.h"
#include "tests/quantize/reference.h"

namespace salient::quantize {
namespace {

/// The Gram matrix of inputs of very different sizes, as models have them.
Matrix uneven_gram(int64_t width, int64_t tokens) {
  Matrix x = random_matrix(tokens, width, 1);
  for (int64_t token = 0; token < tokens; ++token) {
    for (int64_t i = 1; i < width; ++i) {
      x.row(token)[i] = (x.row(token)[i] + 0.5f * x.row(token)[i - 1]) * (i % 9 == 4 ? 20.0f : 1.0f);
    }
  }
  return gram_of(x);
}

TEST(FactorGram, IsTheCholeskyFactorOfTheDampedMatrixInTheOrderOfItsDiagonal) {
  core::ThreadPool pool(2);
  for (const int64_t width : {5, 64, 100, 200}) {
    const Matrix gram = uneven_gram(width, 300);
    const DampedFactor factor = factor_gram(gram, 0.01f, pool);
    const Matrix expected = damped(gram, 0.01);
    std::vector<int32_t> sorted = factor.order;
    std::sort(sorted.begin(), sorted.end());
    for (int32_t i = 0; i < width; ++i) ASSERT_EQ(sorted[i], i);
    for (int64_t i = 0; i < width; ++i) {
      if (i > 0) {
        EXPECT_LE(gram.row(factor.order[i - 1])[factor.order[i - 1]], gram.row(factor.order[i])[factor.order[i]]);
      }
      for (int64_t j = 0; j < width; ++j) {
        const double product =
            std::inner_product(factor.lower.row(i), factor.lower.row(i) + width, factor.lower.row(j), 0.0);
        const float* row = expected.row(factor.order[i]);
        const double size = std::sqrt(double{row[factor.order[i]]} * expected.row(factor.order[j])[factor.order[j]]);
        EXPECT_NEAR(product, row[factor.order[j]], 1e-5 * size) << i << ", " << j << " of " << width;
        if (j > i) {
          EXPECT_EQ(factor.lower.row(i)[j], 0.0f);
        }
      }
    }
  }
}

TEST(FactorGram, TakesMatricesOfTooFewTokensAndOfInputsThatAreNeverUsed) {
  core::ThreadPool pool(2);
  Matrix x = random_matrix(3, 80, 2);
  for (int64_t token = 0; token < 3; ++token) x.row(token)[17] = 0.0f;
  for (const Matrix& gram : {gram_of(x), Matrix(80, 80)}) {
    const DampedFactor factor = factor_gram(gram, 1e-9f, pool);
    for (int64_t i = 0; i < 80; ++i) EXPECT_GT(factor.lower.row(i)[i], 0.0f);
  }
}

TEST(FactorGram, RefusesInputsThatAreNotFinite) {
  core::ThreadPool pool(1);
  Matrix gram = uneven_gram(70, 100);
  gram.row(3)[3] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THROW(factor_gram(gram, 0.01f, pool), core::Error);
}

TEST(SolveRows, GivesRowsTimesTheInverse) {
  core::ThreadPool pool(2);
  for (const int64_t width : {5, 64, 150}) {
    const Matrix gram = uneven_gram(width, 400);
    const DampedFactor factor = factor_gram(gram, 0.1f, pool);
    const auto inverse = inverse_of(damped(gram, 0.1));
    const Matrix rows = random_matrix(100, width, 3);
    Matrix solved = rows;  // in the factor's order
    solve_rows(factor.lower, solved, pool);
    for (int64_t row = 0; row < rows.rows; ++row) {
      for (int64_t k = 0; k < width; ++k) {
        double expected = 0;
        for (int64_t i = 0; i < width; ++i) expected += rows.row(row)[i] * inverse[factor.order[i]][factor.order[k]];
        ASSERT_NEAR(solved.row(row)[k], expected, 1e-3 * (0.1 + std::fabs(expected))) << row << ", " << k;
      }
    }
  }
}

TEST(SolveRows, GivesTheSameBitsForAnyNumberOfThreads) {
  const Matrix gram = uneven_gram(200, 300);
  core::ThreadPool one(1);
  const DampedFactor expected = factor_gram(gram, 0.01f, one);
  Matrix expected_rows = random_matrix(250, 200, 4);
  solve_rows(expected.lower, expected_rows, one);
  for (const int threads : {2, 3}) {
    core::ThreadPool pool(threads);
    const DampedFactor factor = factor_gram(gram, 0.01f, pool);
    EXPECT_EQ(factor.lower.values, expected.lower.values);
    Matrix rows = random_matrix(250, 200, 4);
    solve_rows(factor.lower, rows, pool);
    EXPECT_EQ(rows.values, expected_rows.values);
  }
}

}  // namespace
}  // namespace salient::quantize
