#include "quantize/channel_report.h"

#include <gtest/gtest.h>

#include <numeric>

#include "quantize/rounding.h"
#include "tests/quantize/reference.h"

namespace salient::quantize {
namespace {

constexpr int64_t kWidth = 256;
constexpr int kGroupSize = 64;

class ChannelReportTest : public testing::Test {
 protected:
  ChannelReportTest() {
    for (int64_t i = 0; i < kWidth; ++i) {
      magnitudes_.push_back(1.0f + 0.001f * static_cast<float>(i));
      gram_.row(i)[i] = magnitudes_.back() * magnitudes_.back();
    }
    for (const int64_t i : {7, 200}) {
      magnitudes_[i] = 50.0f;
      gram_.row(i)[i] = 2500.0f;
    }
  }

  ScaleGroup group() const { return {.weights = {&weights_}, .gram = &gram_, .mean_magnitudes = magnitudes_}; }

  /// The input's diagonal element of H times the squared error of its weights, as plain rounding leaves it.
  double error_of_input(int64_t input) {
    const auto rounded = round_matrix(weights_, kGroupSize, plain_grids(weights_, kGroupSize, pool_), pool_);
    Matrix values(weights_.rows, kWidth);
    rounded.dequantize_rows(0, weights_.rows, values.row(0));
    double sum = 0;
    for (int64_t row = 0; row < weights_.rows; ++row) {
      sum += std::pow(double{values.row(row)[input]} - weights_.row(row)[input], 2);
    }
    return sum * gram_.row(input)[input];
  }

  Matrix weights_ = random_matrix(130, kWidth, 3);
  Matrix gram_{kWidth, kWidth};
  std::vector<float> magnitudes_;
  core::ThreadPool pool_{2};
};

TEST_F(ChannelReportTest, FindsTheLargestInputsAndTheErrorThatTheyHave) {
  const std::vector<float> unscaled(kWidth, 1.0f);
  const auto report = report_channels("input", group(), unscaled, kGroupSize, pool_);
  EXPECT_EQ(report.inputs, kWidth);
  EXPECT_EQ(report.salient, 2);
  EXPECT_EQ(report.magnitudes.front(), 50.0f);
  EXPECT_EQ(report.magnitudes.back(), 1.0f);
  EXPECT_TRUE(std::is_sorted(report.magnitudes.rbegin(), report.magnitudes.rend()));
  const double salient = error_of_input(7) + error_of_input(200);
  EXPECT_NEAR(report.salient_error_before, salient, 1e-5 * salient);
  double all = 0;
  for (int64_t i = 0; i < kWidth; ++i) all += error_of_input(i);
  EXPECT_NEAR(report.salient_error_before + report.other_error_before, all, 1e-5 * all);
  EXPECT_EQ(report.salient_error_after, report.salient_error_before);
  EXPECT_EQ(report.other_error_after, report.other_error_before);
}

TEST_F(ChannelReportTest, ScalesTakeErrorFromTheInputsThatTheyMakeFiner) {
  std::vector<float> scales(kWidth, 1.0f);
  scales[7] = scales[200] = 2.0f;
  const auto report = report_channels("input", group(), scales, kGroupSize, pool_);
  EXPECT_LT(report.salient_error_after, 0.6 * report.salient_error_before);
  EXPECT_GT(report.other_error_after, report.other_error_before);
}

TEST_F(ChannelReportTest, CountsEveryWeightAndItsCode) {
  Matrix weights(1, 64);
  weights.row(0)[0] = -2;
  weights.row(0)[1] = 2;
  weights.row(0)[2] = 1;
  WeightReport report = report_weights("query", weights, kGroupSize);
  EXPECT_EQ(report.weights[0], 1);
  EXPECT_EQ(report.weights[WeightReport::kBins - 1], 1);
  EXPECT_EQ(report.weights[WeightReport::kBins / 2], 61);
  EXPECT_EQ(report.weights[WeightReport::kBins * 3 / 4], 1);
  count_codes(round_matrix(weights, kGroupSize, plain_grids(weights, kGroupSize, pool_), pool_), report);
  EXPECT_EQ(std::accumulate(report.codes.begin(), report.codes.end(), int64_t{0}), 64);
  EXPECT_EQ(*std::max_element(report.codes.begin(), report.codes.end()), 61);
}

}  // namespace
}  // namespace salient::quantize
