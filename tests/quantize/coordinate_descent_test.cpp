#include "quantize/coordinate_descent.h"

#include <gtest/gtest.h>

#include "core/dtype.h"
#include "tests/quantize/reference.h"

namespace salient::quantize {
namespace {

constexpr int kGroupSize = 32;
constexpr int64_t kWidth = 96;

class CoordinateDescentTest : public testing::Test {
 protected:
  CoordinateDescentTest() : form_(correlated_gram(), kGroupSize, pool_) {
    rounded_ = round_matrix(weights_, kGroupSize, plain_grids(weights_, kGroupSize, pool_), pool_);
  }

  static Matrix correlated_gram() {
    Matrix x = random_matrix(400, kWidth, 1);
    for (int64_t token = 0; token < x.rows; ++token) {
      for (int64_t i = 1; i < kWidth; ++i) x.row(token)[i] += 0.7f * x.row(token)[i - 1];
    }
    return gram_of(x);
  }

  core::ThreadPool pool_{2};
  GroupedForm form_;
  Matrix weights_ = random_matrix(130, kWidth, 2);
  core::QuantizedTensor rounded_;
};

TEST_F(CoordinateDescentTest, EverySweepLowersTheError) {
  double before = error_of(weights_, rounded_, form_.gram);
  const double first = before;
  for (int sweep = 0; sweep < 3; ++sweep) {
    descend(weights_, form_, 1, rounded_, pool_);
    const double after = error_of(weights_, rounded_, form_.gram);
    EXPECT_LT(after, before);
    before = after;
  }
  EXPECT_LT(before, 0.7 * first);
}

TEST_F(CoordinateDescentTest, EndsWhereNoCodeCanMoveAloneAndNoScaleEither) {
  descend(weights_, form_, 30, rounded_, pool_);
  const core::QuantizedTensor found = rounded_;
  const Matrix& gram = form_.gram;
  const auto row_error = [&](int64_t row, const core::QuantizedTensor& tensor) {
    std::vector<float> delta(kWidth);
    tensor.dequantize_rows(row, 1, delta.data());
    for (int64_t i = 0; i < kWidth; ++i) delta[i] -= weights_.row(row)[i];
    return quadratic(gram, delta.data(), 0, kWidth);
  };
  for (int64_t row = 0; row < 10; ++row) {
    const double least = row_error(row, found);
    core::QuantizedTensor moved = found;
    for (int64_t i = row * kWidth; i < (row + 1) * kWidth; ++i) {
      for (const int step : {-1, 1}) {
        if (found.codes[i] + step < 0 || found.codes[i] + step > 15) continue;
        moved.codes[i] = static_cast<uint8_t>(found.codes[i] + step);
        EXPECT_GE(row_error(row, moved), least * (1 - 1e-5)) << "code " << i << " by " << step;
      }
      moved.codes[i] = found.codes[i];
    }
    for (int64_t group = row * 3; group < (row + 1) * 3; ++group) {
      const uint16_t bits = core::float_to_half(found.scales[group]);
      for (const int step : {-1, 1}) {
        moved.scales[group] = core::half_to_float(static_cast<uint16_t>(bits + step));
        EXPECT_GE(row_error(row, moved), least * (1 - 1e-5)) << "scale " << group << " by " << step;
      }
      moved.scales[group] = found.scales[group];
    }
  }
}

TEST_F(CoordinateDescentTest, KeepsScalesInFp16AndZeroPoints) {
  const std::vector<float> scales = rounded_.scales;
  const std::vector<uint8_t> zeros = rounded_.zeros;
  descend(weights_, form_, 2, rounded_, pool_);
  EXPECT_NE(rounded_.scales, scales);
  EXPECT_EQ(rounded_.zeros, zeros);
  for (const float scale : rounded_.scales) {
    EXPECT_GT(scale, 0.0f);
    EXPECT_EQ(core::half_to_float(core::float_to_half(scale)), scale);
  }
}

TEST_F(CoordinateDescentTest, LeavesWhatIsExactAndInputsThatAreNeverUsed) {
  const Matrix exact = grid_matrix(10, kWidth);
  auto rounded = round_matrix(exact, kGroupSize, plain_grids(exact, kGroupSize, pool_), pool_);
  const auto before = rounded;
  descend(exact, form_, 2, rounded, pool_);
  EXPECT_EQ(rounded.codes, before.codes);
  EXPECT_EQ(rounded.scales, before.scales);
  const GroupedForm unused(Matrix(kWidth, kWidth), kGroupSize, pool_);
  const auto codes = rounded_.codes;
  descend(weights_, unused, 2, rounded_, pool_);
  EXPECT_EQ(rounded_.codes, codes);
}

TEST_F(CoordinateDescentTest, GivesTheSameBitsForAnyNumberOfThreads) {
  core::ThreadPool one(1);
  auto expected = rounded_;
  descend(weights_, form_, 3, expected, one);
  for (const int threads : {2, 3}) {
    core::ThreadPool pool(threads);
    auto result = rounded_;
    descend(weights_, form_, 3, result, pool);
    EXPECT_EQ(result.codes, expected.codes);
    EXPECT_EQ(result.scales, expected.scales);
  }
}

}  // namespace
}  // namespace salient::quantize
