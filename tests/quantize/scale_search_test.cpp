#include "quantize/scale_search.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <numeric>

#include "tests/quantize/reference.h"

namespace salient::quantize {
namespace {

constexpr int kGroupSize = 32;

/// Two linears that read the same input, one of whose channels is far larger than the others.
class ScaleSearchTest : public testing::Test {
 protected:
  static constexpr int64_t kWidth = 64;
  static constexpr int64_t kSalient = 37;

  ScaleSearchTest() : x_(random_matrix(200, kWidth, 1)) {
    for (int64_t token = 0; token < x_.rows; ++token) x_.row(token)[kSalient] *= 60.0f;
    gram_ = gram_of(x_);
    magnitudes_ = magnitudes_of(x_);
  }

  ScaleGroup group() const { return {.weights = {&first_, &second_}, .gram = &gram_, .mean_magnitudes = magnitudes_}; }

  /// ||X (W - W')^T||^2 / tokens, straight from its definition, for every row_step-th row.
  double output_error(const std::vector<float>& scales, int64_t row_step) const {
    double loss = 0;
    for (const Matrix* weights : {&first_, &second_}) {
      for (int64_t row = 0; row < weights->rows; row += row_step) {
        std::vector<float> scaled(weights->row(row), weights->row(row) + kWidth);
        for (int64_t i = 0; i < kWidth; ++i) scaled[i] *= scales[i];
        std::vector<double> delta;
        for (int64_t first = 0; first < kWidth; first += kGroupSize) {
          const auto rounded = rounded_group(&scaled[first], kGroupSize);
          for (int64_t i = 0; i < kGroupSize; ++i) {
            delta.push_back(double{rounded[i]} / scales[first + i] - weights->row(row)[first + i]);
          }
        }
        for (int64_t token = 0; token < x_.rows; ++token) {
          const double error = std::inner_product(delta.begin(), delta.end(), x_.row(token), 0.0);
          loss += error * error;
        }
      }
    }
    return loss / static_cast<double>(x_.rows);
  }

  Matrix x_;
  Matrix gram_;
  std::vector<float> magnitudes_;
  Matrix first_ = random_matrix(20, kWidth, 2);
  Matrix second_ = random_matrix(130, kWidth, 3);
  core::ThreadPool pool_{2};
};

TEST_F(ScaleSearchTest, LossIsTheSquaredErrorOfTheOutputs) {
  std::vector<float> scales(kWidth, 1.0f);
  double expected = output_error(scales, 1);
  EXPECT_NEAR(rounding_loss(group(), scales, kGroupSize, 1, pool_), expected, 1e-4 * expected);
  for (int64_t i = 0; i < kWidth; ++i) scales[i] = 0.5f + 0.05f * static_cast<float>(i);
  expected = output_error(scales, 8);
  EXPECT_NEAR(rounding_loss(group(), scales, kGroupSize, 8, pool_), expected, 1e-4 * expected);
}

TEST_F(ScaleSearchTest, FindsScalesThatSpareASalientChannel) {
  const ScaleChoice choice = search_scales(group(), kGroupSize, pool_);
  EXPECT_NE(choice.candidate, "identity");
  EXPECT_LT(choice.loss, 0.5 * choice.identity_loss);
  EXPECT_EQ(std::max_element(choice.scales.begin(), choice.scales.end()) - choice.scales.begin(), kSalient);
}

TEST_F(ScaleSearchTest, ReportsTheLossesOfIdentityAndChoice) {
  const ScaleChoice choice = search_scales(group(), kGroupSize, pool_);
  const std::vector<float> ones(kWidth, 1.0f);
  EXPECT_EQ(choice.identity_loss, rounding_loss(group(), ones, kGroupSize, 1, pool_));
  EXPECT_EQ(choice.loss, rounding_loss(group(), choice.scales, kGroupSize, 1, pool_));
}

TEST_F(ScaleSearchTest, ChoosesTheBestOfItsCandidates) {
  // The candidates as the paper has them: s = x^r / w^(1 - r), and s = x^r.
  std::vector<double> w(kWidth);
  for (const Matrix* weights : {&first_, &second_}) {
    for (int64_t row = 0; row < weights->rows; ++row) {
      for (int64_t i = 0; i < kWidth; ++i) {
        double largest = 0;
        const int64_t begin = i / kGroupSize * kGroupSize;
        for (int64_t k = begin; k < begin + kGroupSize; ++k) {
          largest = std::max<double>(largest, std::fabs(weights->row(row)[k]));
        }
        w[i] += std::fabs(weights->row(row)[i]) / largest / static_cast<double>(first_.rows + second_.rows);
      }
    }
  }
  double best = output_error(std::vector<float>(kWidth, 1.0f), 1);
  bool best_has_weights = false;
  double best_ratio = 0;
  std::vector<float> best_scales;
  const auto try_ratio = [&](bool with_weights, double r) {
    std::vector<double> raw;
    for (int64_t i = 0; i < kWidth; ++i) {
      raw.push_back(std::pow(magnitudes_[i], r) / (with_weights ? std::pow(w[i], 1 - r) + 1e-4 : 1.0));
    }
    const auto [smallest, largest] = std::minmax_element(raw.begin(), raw.end());
    std::vector<float> scales;
    for (const double scale : raw) scales.push_back(static_cast<float>(scale / std::sqrt(*smallest * *largest)));
    const double loss = output_error(scales, 1);
    if (loss >= best) return;
    best = loss;
    best_scales = scales;
    best_has_weights = with_weights;
    best_ratio = r;
  };
  for (int step = 1; step <= 20; ++step) try_ratio(false, step / 20.0);
  for (int step = 1; step < 20; ++step) try_ratio(true, step / 20.0);
  const double coarse = best;
  for (const double step : {0.025, 0.0125}) {
    const double centre = best_ratio;
    for (const double r : {centre - step, centre + step}) {
      if (r < 1) try_ratio(best_has_weights, r);
    }
  }
  EXPECT_LT(best, coarse) << "refining found nothing, so it is not tested";
  char name[48];
  std::snprintf(name, sizeof name, best_has_weights ? "x^%g / w^%g" : "x^%g", best_ratio, 1 - best_ratio);
  const ScaleChoice choice = search_scales(group(), kGroupSize, pool_);
  EXPECT_EQ(choice.candidate, name);
  EXPECT_NEAR(choice.loss, best, 1e-3 * best);
  for (int64_t i = 0; i < kWidth; ++i) EXPECT_NEAR(choice.scales[i], best_scales[i], 1e-4 * best_scales[i]);
}

TEST_F(ScaleSearchTest, KeepsTheIdentityWhenNothingBeatsIt) {
  first_ = grid_matrix(20, kWidth);
  second_ = grid_matrix(130, kWidth);
  const ScaleChoice choice = search_scales(group(), kGroupSize, pool_);
  EXPECT_EQ(choice.candidate, "identity");
  EXPECT_EQ(choice.scales, std::vector<float>(kWidth, 1.0f));
  EXPECT_EQ(choice.identity_loss, 0);
  EXPECT_EQ(choice.loss, 0);
}

TEST_F(ScaleSearchTest, GivesTiedHeadsTheSameScales) {
  ScaleGroup tied = group();
  tied.tied_heads = 2;
  tied.head_dim = 16;
  const auto scales = search_scales(tied, kGroupSize, pool_).scales;
  for (int64_t d = 0; d < 16; ++d) {
    EXPECT_EQ(scales[d], scales[16 + d]);
    EXPECT_EQ(scales[32 + d], scales[48 + d]);
  }
  EXPECT_NE(scales[kSalient], scales[kSalient - 32]) << "heads of another value were tied too";
}

TEST_F(ScaleSearchTest, SurvivesInputsThatAreNeverUsed) {
  for (int64_t token = 0; token < x_.rows; ++token) x_.row(token)[5] = 0.0f;
  gram_ = gram_of(x_);
  magnitudes_ = magnitudes_of(x_);
  const ScaleChoice choice = search_scales(group(), kGroupSize, pool_);
  EXPECT_LE(choice.loss, choice.identity_loss);
  for (const float scale : choice.scales) EXPECT_TRUE(std::isfinite(scale) && scale > 0) << scale;
}

TEST_F(ScaleSearchTest, GivesTheSameBitsForAnyNumberOfThreads) {
  core::ThreadPool one(1);
  const ScaleChoice expected = search_scales(group(), kGroupSize, one);
  for (const int threads : {2, 3}) {
    core::ThreadPool pool(threads);
    const ScaleChoice choice = search_scales(group(), kGroupSize, pool);
    EXPECT_EQ(choice.scales, expected.scales);
    EXPECT_EQ(choice.loss, expected.loss);
  }
}

}  // namespace
}  // namespace salient::quantize
