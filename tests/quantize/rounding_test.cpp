#include "quantize/rounding.h"

#include <gtest/gtest.h>

#include <array>
#include <limits>

#include "core/dtype.h"
#include "core/error.h"
#include "tests/quantize/reference.h"

namespace salient::quantize {
namespace {

TEST(Grid, SpansTheGroupAndZero) {
  // -1.5 to 6 in 15 steps of 0.5; zero is the code 3.
  const std::array<float, 4> weights = {-1.5f, 0.0f, 2.0f, 6.0f};
  const Grid grid = make_grid(weights.data(), 4);
  EXPECT_EQ(grid.scale, 0.5f);
  EXPECT_EQ(grid.zero, 3);
  EXPECT_EQ(grid.value_of(0), -1.5f);
  EXPECT_EQ(grid.value_of(3), 0.0f);
  EXPECT_EQ(grid.value_of(15), 6.0f);
}

TEST(Grid, HoldsZeroWhereAllWeightsHaveOneSign) {
  const std::array<float, 2> positive = {0.5f, 7.5f};
  EXPECT_EQ(make_grid(positive.data(), 2).scale, 0.5f);
  EXPECT_EQ(make_grid(positive.data(), 2).zero, 0);
  const std::array<float, 2> negative = {-7.5f, -0.5f};
  EXPECT_EQ(make_grid(negative.data(), 2).scale, 0.5f);
  EXPECT_EQ(make_grid(negative.data(), 2).zero, 15);
}

TEST(Grid, GivesAGroupOfZerosAScaleAboveZero) {
  const std::array<float, 3> weights = {};
  const Grid grid = make_grid(weights.data(), 3);
  EXPECT_GT(core::half_to_float(core::float_to_half(grid.scale)), 0.0f);
  EXPECT_EQ(grid.value_of(grid.code_of(0.0f)), 0.0f);
}

TEST(Grid, RoundsCodesToTheNearestTiesToEven) {
  const Grid grid{0.5f, 3};
  EXPECT_EQ(grid.code_of(0.24f), 3);
  EXPECT_EQ(grid.code_of(0.26f), 4);
  EXPECT_EQ(grid.code_of(0.25f), 3);   // 0.5 steps: to 0
  EXPECT_EQ(grid.code_of(0.75f), 5);   // 1.5 steps: to 2
  EXPECT_EQ(grid.code_of(-0.75f), 1);  // -1.5 steps: to -2
  EXPECT_EQ(grid.code_of(100.0f), 15);
  EXPECT_EQ(grid.code_of(-100.0f), 0);
}

TEST(Grid, CutsOffWhatIsBeyondItsSpan) {
  // -7.5 to 7.5 in steps of 1, and 7.5 steps below 0 round to 8.
  const Grid grid = span_grid(-7.5f, 7.5f);
  EXPECT_EQ(grid.scale, 1.0f);
  EXPECT_EQ(grid.zero, 8);
  EXPECT_EQ(grid.value_of(grid.code_of(10.0f)), 7.0f);
  EXPECT_EQ(grid.value_of(grid.code_of(-3e38f)), -8.0f);
}

TEST(Grid, HasAScaleThatFp16HoldsAsNearAsItCan) {
  for (uint32_t seed = 0; seed < 200; ++seed) {
    const Matrix group = random_matrix(1, 32, seed, std::ldexp(1.0f, static_cast<int>(seed % 20) - 12));
    double low = 0;
    double high = 0;
    for (const float w : group.values) {
      low = std::min<double>(low, w);
      high = std::max<double>(high, w);
    }
    const Grid grid = make_grid(group.row(0), 32);
    EXPECT_EQ(core::half_to_float(core::float_to_half(grid.scale)), grid.scale);
    EXPECT_NEAR(grid.scale, (high - low) / 15, std::max((high - low) / 15 * 0x1.01p-11, 0x1p-25));
    EXPECT_EQ(grid.zero, std::nearbyint(-low / grid.scale));
  }
}

TEST(Grid, GivesEveryWeightTheNearestOfItsSixteenValues) {
  for (uint32_t seed = 0; seed < 50; ++seed) {
    const Matrix group = random_matrix(1, 64, seed);
    const Grid whole = make_grid(group.row(0), 64);
    for (const Grid& grid : {whole, Grid{0.5f * whole.scale, 11}}) {
      for (const float w : group.values) {
        double nearest = std::numeric_limits<double>::infinity();
        for (int code = 0; code < 16; ++code) {
          nearest = std::min(nearest, std::fabs(double{w} - (code - grid.zero) * double{grid.scale}));
        }
        EXPECT_NEAR(std::fabs(double{w} - grid.value_of(grid.code_of(w))), nearest, 1e-6 * grid.scale);
      }
    }
  }
}

TEST(Grid, RefusesWeightsThatAreNotFiniteOrTooLarge) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  // 65504 is the largest fp16 number; 65520 rounds to infinity.
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), kInfinity, -kInfinity, 15 * 65520.0f, 3e38f}) {
    const std::array<float, 3> weights = {1.0f, bad, bad < 0 ? 1.0f : -bad};
    try {
      make_grid(weights.data(), 3);
      ADD_FAILURE() << bad << " was taken";
    } catch (const core::Error& error) {
      EXPECT_EQ(error.kind(), core::ErrorKind::kInvalidInput);
    }
  }
  const std::array<float, 2> largest = {0.0f, 15 * 65504.0f};
  EXPECT_EQ(make_grid(largest.data(), 2).scale, 65504.0f);
}

TEST(RoundMatrix, GivesEachRowAndGroupItsOwnGrid) {
  Matrix weights(2, 8);
  weights.values = {0, 1,    2,     15, -8,  0, 3,  7,   //
                    0, 7.5f, -0.4f, 3,  -16, 2, 14, 0};  //
  core::ThreadPool pool(2);
  std::vector<Grid> grids = plain_grids(weights, 4, pool);
  grids[3] = span_grid(-8, 8);
  const auto rounded = round_matrix(weights, 4, grids, pool);
  EXPECT_EQ(rounded.out_features, 2);
  EXPECT_EQ(rounded.in_features, 8);
  EXPECT_EQ(rounded.bits, 4);
  EXPECT_EQ(rounded.group_size, 4);
  // Row 1, group 1 is cut at 8: -8 to 8 in 15 steps, of which fp16 holds 1.06640625.
  EXPECT_EQ(rounded.scales[0], 1.0f);
  EXPECT_EQ(rounded.scales[1], 1.0f);
  EXPECT_EQ(rounded.scales[3], 1.06640625f);
  EXPECT_EQ(rounded.zeros[0], 0);
  EXPECT_EQ(rounded.zeros[1], 8);
  EXPECT_EQ(rounded.zeros[2], 1);
  EXPECT_EQ(rounded.zeros[3], 8);
  EXPECT_EQ(std::vector<uint8_t>(rounded.codes.begin(), rounded.codes.begin() + 8),
            (std::vector<uint8_t>{0, 1, 2, 15, 0, 8, 11, 15}));
  EXPECT_EQ(std::vector<uint8_t>(rounded.codes.begin() + 12, rounded.codes.end()),
            (std::vector<uint8_t>{0, 10, 15, 8}));
}

TEST(RoundMatrix, WithPlainGridsCutsNothingOff) {
  const Matrix weights = grid_matrix(5, 64);
  core::ThreadPool pool(1);
  std::vector<float> values(weights.values.size());
  round_matrix(weights, 32, plain_grids(weights, 32, pool), pool).dequantize_rows(0, 5, values.data());
  EXPECT_EQ(values, weights.values);
}

TEST(RoundMatrix, GivesTheSameForAnyNumberOfThreads) {
  const Matrix weights = random_matrix(37, 64, 1);
  core::ThreadPool one(1);
  const auto expected = round_matrix(weights, 32, plain_grids(weights, 32, one), one);
  for (const int threads : {2, 3}) {
    core::ThreadPool pool(threads);
    const auto rounded = round_matrix(weights, 32, plain_grids(weights, 32, pool), pool);
    EXPECT_EQ(rounded.codes, expected.codes);
    EXPECT_EQ(rounded.scales, expected.scales);
    EXPECT_EQ(rounded.zeros, expected.zeros);
  }
}

TEST(Grid, ASymmetricGridReachesBothEndsWithItsZeroInTheMiddle) {
  const Grid wide_above = span_grid(-1.0f, 7.0f, Zero::kMiddle);
  EXPECT_EQ(wide_above.zero, 8);
  EXPECT_EQ(wide_above.scale, 1.0f);
  const Grid wide_below = span_grid(-4.0f, 1.0f, Zero::kMiddle);
  EXPECT_EQ(wide_below.scale, 0.5f);
  EXPECT_EQ(wide_below.value_of(wide_below.code_of(-4.0f)), -4.0f);
}

}  // namespace
}  // namespace salient::quantize
