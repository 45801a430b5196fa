#include "quantize/grid_search.h"

#include <gtest/gtest.h>

#include "core/dtype.h"
#include "core/error.h"
#include "tests/quantize/reference.h"

namespace salient::quantize {
namespace {

constexpr int kGroupSize = 32;
constexpr int64_t kWidth = 64;
constexpr int64_t kGroups = kWidth / kGroupSize;

class GridSearchTest : public testing::Test {
 protected:
  static constexpr int64_t kIdle = 50;

  /// Input 50 is nearly always 0.
  GridSearchTest() : form_(gram(), kGroupSize, pool_) {}

  static Matrix gram() {
    Matrix x = random_matrix(300, kWidth, 1);
    for (int64_t token = 0; token < x.rows; ++token) x.row(token)[kIdle] *= 0.001f;
    return gram_of(x);
  }

  double error_with(const Matrix& weights, int64_t row, int64_t group, const Grid& grid) const {
    const float* w = weights.row(row) + group * kGroupSize;
    std::vector<float> delta;
    for (int i = 0; i < kGroupSize; ++i) delta.push_back(grid.value_of(grid.code_of(w[i])) - w[i]);
    return quadratic(form_.gram, delta.data(), group * kGroupSize, kGroupSize);
  }

  core::ThreadPool pool_{2};
  GroupedForm form_;
  Matrix weights_ = random_matrix(100, kWidth, 2);
};

TEST_F(GridSearchTest, FindsGridsAsGoodAsTheBestSymmetricClippingAndBetterOnTheWhole) {
  const auto grids = search_grids(weights_, form_, kGroupSize, pool_);
  ASSERT_EQ(std::ssize(grids), weights_.rows * kGroups);
  double sum = 0;
  double plain_sum = 0;
  double clipped_sum = 0;
  for (int64_t row = 0; row < weights_.rows; ++row) {
    for (int64_t group = 0; group < kGroups; ++group) {
      const float* w = weights_.row(row) + group * kGroupSize;
      const auto [low, high] = std::minmax_element(w, w + kGroupSize);
      // AWQ's clipping: 1, 0.95 ... 0.55 of the largest magnitude, both ways.
      double clipped = std::numeric_limits<double>::infinity();
      for (int step = 0; step < 10; ++step) {
        const float bound = std::max(-*low, *high) * (1.0f - 0.05f * static_cast<float>(step));
        clipped = std::min(clipped, error_with(weights_, row, group,
                                               span_grid(std::max(std::min(*low, 0.0f), -bound),
                                                         std::min(std::max(*high, 0.0f), bound))));
      }
      const double plain = error_with(weights_, row, group, make_grid(w, kGroupSize));
      const double found = error_with(weights_, row, group, grids[row * kGroups + group]);
      EXPECT_LE(found, plain * (1 + 1e-5)) << "row " << row << ", group " << group;
      sum += found;
      plain_sum += plain;
      clipped_sum += clipped;
    }
  }
  EXPECT_LT(clipped_sum, plain_sum);
  EXPECT_LT(sum, clipped_sum);
}

TEST_F(GridSearchTest, CutsOffAnOutlierThatHardlyMattersOnItsSideOnly) {
  weights_.row(2)[kIdle] = 9.0f;
  const auto grids = search_grids(weights_, form_, kGroupSize, pool_);
  const Grid& grid = grids[2 * kGroups + 1];
  const float* w = weights_.row(2) + kGroupSize;
  EXPECT_LT(grid.value_of(15), 6.5f);
  EXPECT_LT(grid.value_of(0), 0.8f * *std::min_element(w, w + kGroupSize));
}

TEST_F(GridSearchTest, GivesScalesThatFp16HoldsAndZeroPointsOfFourBits) {
  for (const Grid& grid : search_grids(weights_, form_, kGroupSize, pool_)) {
    EXPECT_GT(grid.scale, 0.0f);
    EXPECT_EQ(core::half_to_float(core::float_to_half(grid.scale)), grid.scale);
    EXPECT_TRUE(grid.zero >= 0 && grid.zero <= 15) << grid.zero;
  }
}

TEST_F(GridSearchTest, HoldsWeightsThatLieOnAGridExactly) {
  const Matrix exact = grid_matrix(10, kWidth);
  const auto rounded = round_matrix(exact, kGroupSize, search_grids(exact, form_, kGroupSize, pool_), pool_);
  EXPECT_EQ(error_of(exact, rounded, form_.gram), 0);
}

TEST_F(GridSearchTest, TakesGroupsOfZerosAndInputsThatAreNeverUsed) {
  const Matrix zeros(3, kWidth);
  for (const Grid& grid : search_grids(zeros, form_, kGroupSize, pool_)) EXPECT_GT(grid.scale, 0.0f);
  const GroupedForm unused(Matrix(kWidth, kWidth), kGroupSize, pool_);
  const auto grids = search_grids(weights_, unused, kGroupSize, pool_);
  const auto plain = plain_grids(weights_, kGroupSize, pool_);
  for (size_t i = 0; i < grids.size(); ++i) EXPECT_EQ(grids[i].scale, plain[i].scale);
}

TEST_F(GridSearchTest, RefusesWeightsThatAreNoNumbers) {
  weights_.row(5)[7] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THROW(search_grids(weights_, form_, kGroupSize, pool_), core::Error);
}

TEST_F(GridSearchTest, GivesTheSameBitsForAnyNumberOfThreads) {
  core::ThreadPool one(1);
  const auto expected = round_matrix(weights_, kGroupSize, search_grids(weights_, form_, kGroupSize, one), one);
  for (const int threads : {2, 3}) {
    core::ThreadPool pool(threads);
    const auto rounded = round_matrix(weights_, kGroupSize, search_grids(weights_, form_, kGroupSize, pool), pool);
    EXPECT_EQ(rounded.codes, expected.codes);
    EXPECT_EQ(rounded.scales, expected.scales);
    EXPECT_EQ(rounded.zeros, expected.zeros);
  }
}

TEST_F(GridSearchTest, SymmetricGridsHaveTheirZeroInTheMiddleAndAreNoWorseThanPlainOnes) {
  const int64_t groups = weights_.columns / kGroupSize;
  const auto grids = search_grids(weights_, form_, kGroupSize, pool_, Zero::kMiddle);
  const auto plain = plain_grids(weights_, kGroupSize, pool_, Zero::kMiddle);
  for (int64_t row = 0; row < weights_.rows; ++row) {
    for (int64_t group = 0; group < groups; ++group) {
      const int64_t i = row * groups + group;
      EXPECT_EQ(grids[i].zero, 8);
      EXPECT_EQ(plain[i].zero, 8);
      EXPECT_LE(error_with(weights_, row, group, grids[i]), error_with(weights_, row, group, plain[i]) * (1 + 1e-5));
    }
  }
}

}  // namespace
}  // namespace salient::quantize
