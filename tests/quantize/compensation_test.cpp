#include "quantize/compensation.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/quantize/reference.h"

namespace salient::quantize {
namespace {

constexpr int kGroupSize = 32;
constexpr int64_t kWidth = 160;
constexpr float kDamping = 0.01f;

/// GPTQ as its paper has it (Frantar et al., 2022, section 3.3, without blocks): round one weight, move all that are
/// left by -(error / [H^-1]_kk) times its row of H^-1, then take it out of H^-1. Inputs with the largest diagonal
/// first.
std::vector<int> gptq_codes(const float* weights, const Matrix& gram, const Grid* grids) {
  const auto size = static_cast<size_t>(gram.rows);
  auto inverse = inverse_of(damped(gram, kDamping));
  std::vector<double> w(weights, weights + size);
  std::vector<bool> done(size);
  std::vector<int> codes(size);
  for (size_t step = 0; step < size; ++step) {
    size_t k = size;
    for (size_t i = 0; i < size; ++i) {
      if (!done[i] && (k == size || gram.row(i)[i] >= gram.row(k)[k])) k = i;
    }
    const Grid& grid = grids[k / kGroupSize];
    codes[k] = grid.code_of(static_cast<float>(w[k]));
    const double error = (w[k] - grid.value_of(codes[k])) / inverse[k][k];
    done[k] = true;
    const std::vector<double> row = inverse[k];
    for (size_t i = 0; i < size; ++i) {
      if (!done[i]) w[i] -= error * row[i];
      for (size_t j = 0; j < size; ++j) inverse[i][j] -= row[i] * row[j] / row[k];
    }
  }
  return codes;
}

class CompensationTest : public testing::Test {
 protected:
  CompensationTest() {
    Matrix x = random_matrix(500, kWidth, 1);
    for (int64_t token = 0; token < x.rows; ++token) {
      for (int64_t i = 1; i < kWidth; ++i) {
        x.row(token)[i] = (x.row(token)[i] + 0.8f * x.row(token)[i - 1]) * (i % 11 == 4 ? 5.0f : 1.0f);
      }
    }
    gram_ = gram_of(x);
    grids_ = plain_grids(weights_, kGroupSize, pool_);
  }

  core::ThreadPool pool_{2};
  Matrix gram_;
  Matrix weights_ = random_matrix(110, kWidth, 2);
  std::vector<Grid> grids_;
};

TEST_F(CompensationTest, RoundsAsGptqDoes) {
  const auto result = compensate(weights_, factor_gram(gram_, kDamping, pool_), grids_, kGroupSize, pool_);
  int64_t different_rows = 0;
  for (int64_t row = 0; row < 20; ++row) {
    const auto expected = gptq_codes(weights_.row(row), gram_, &grids_[row * kWidth / kGroupSize]);
    const uint8_t* codes = &result.codes[row * kWidth];
    different_rows += std::equal(expected.begin(), expected.end(), codes) ? 0 : 1;
  }
  // fp32 and double may round a weight in the middle of two codes to either, and what follows with it.
  EXPECT_LE(different_rows, 1);
}

TEST_F(CompensationTest, KeepsTheGridsAndHalvesTheError) {
  const auto result = compensate(weights_, factor_gram(gram_, kDamping, pool_), grids_, kGroupSize, pool_);
  for (size_t i = 0; i < grids_.size(); ++i) {
    ASSERT_EQ(result.scales[i], grids_[i].scale);
    ASSERT_EQ(result.zeros[i], grids_[i].zero);
  }
  const auto rounded = round_matrix(weights_, kGroupSize, grids_, pool_);
  EXPECT_LT(error_of(weights_, result, gram_), 0.6 * error_of(weights_, rounded, gram_));
}

TEST_F(CompensationTest, RoundsToTheNearestWhereInputsHaveNothingToDoWithEachOther) {
  Matrix gram(kWidth, kWidth);
  for (int64_t i = 0; i < kWidth; ++i) gram.row(i)[i] = 1.0f + static_cast<float>(i * 7 % 13);
  const auto result = compensate(weights_, factor_gram(gram, kDamping, pool_), grids_, kGroupSize, pool_);
  EXPECT_EQ(result.codes, round_matrix(weights_, kGroupSize, grids_, pool_).codes);
}

TEST_F(CompensationTest, GivesTheSameBitsForAnyNumberOfThreads) {
  const DampedFactor factor = factor_gram(gram_, kDamping, pool_);
  core::ThreadPool one(1);
  const auto expected = compensate(weights_, factor, grids_, kGroupSize, one);
  for (const int threads : {2, 3}) {
    core::ThreadPool pool(threads);
    EXPECT_EQ(compensate(weights_, factor, grids_, kGroupSize, pool).codes, expected.codes);
  }
}

}  // namespace
}  // namespace salient::quantize
