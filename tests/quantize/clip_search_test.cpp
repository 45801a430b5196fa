#include "quantize/clip_search.h"

#include <gtest/gtest.h>

#include <limits>

#include "tests/quantize/reference.h"

namespace salient::quantize {
namespace {

constexpr int kGroupSize = 32;
constexpr int64_t kWidth = 64;
constexpr int64_t kGroups = kWidth / kGroupSize;

/// The error of the whole linear with these shares, in double.
double linear_error(const Matrix& weights, const Matrix& gram, const std::vector<float>& clips) {
  double loss = 0;
  for (int64_t row = 0; row < weights.rows; ++row) {
    std::vector<float> delta;
    for (int64_t group = 0; group < kGroups; ++group) {
      const float* w = weights.row(row) + group * kGroupSize;
      const auto rounded = rounded_group(w, kGroupSize, clips.empty() ? 1.0f : clips[row * kGroups + group]);
      for (int64_t i = 0; i < kGroupSize; ++i) delta.push_back(rounded[i] - w[i]);
    }
    loss += quadratic(gram, delta.data(), 0, kWidth);
  }
  return loss;
}

class ClipSearchTest : public testing::Test {
 protected:
  /// Row 2 has one large weight in its second group, on an input that is nearly always 0.
  ClipSearchTest() {
    Matrix x = random_matrix(300, kWidth, 1);
    for (int64_t token = 0; token < x.rows; ++token) x.row(token)[kIdle] *= 0.001f;
    gram_ = gram_of(x);
    weights_.row(2)[kIdle] = 12.0f;
  }
  static constexpr int64_t kIdle = 50;
  Matrix gram_;
  Matrix weights_ = random_matrix(100, kWidth, 2);
  core::ThreadPool pool_{2};
};

TEST_F(ClipSearchTest, CutsOffAnOutlierThatHardlyMatters) {
  const ClipChoice choice = search_clips(weights_, gram_, kGroupSize, pool_);
  ASSERT_EQ(std::ssize(choice.clips), weights_.rows * kGroups);
  EXPECT_FLOAT_EQ(choice.clips[2 * kGroups + 1], 0.55f);
  EXPECT_LT(choice.loss, choice.unclipped_loss);
}

TEST_F(ClipSearchTest, ReportsTheErrorOfTheWholeLinear) {
  const ClipChoice choice = search_clips(weights_, gram_, kGroupSize, pool_);
  const double unclipped = linear_error(weights_, gram_, {});
  const double clipped = linear_error(weights_, gram_, choice.clips);
  EXPECT_NEAR(choice.unclipped_loss, unclipped, 1e-4 * unclipped);
  EXPECT_NEAR(choice.loss, clipped, 1e-4 * clipped);
}

TEST_F(ClipSearchTest, ChoosesEachShareByTheErrorOfItsGroup) {
  const ClipChoice choice = search_clips(weights_, gram_, kGroupSize, pool_);
  ASSERT_FALSE(choice.clips.empty());
  for (int64_t row = 0; row < weights_.rows; ++row) {
    for (int64_t group = 0; group < kGroups; ++group) {
      const float* w = weights_.row(row) + group * kGroupSize;
      const auto error_of = [&](float clip) {
        auto delta = rounded_group(w, kGroupSize, clip);
        for (int64_t i = 0; i < kGroupSize; ++i) delta[i] -= w[i];
        return quadratic(gram_, delta.data(), group * kGroupSize, kGroupSize);
      };
      double best = std::numeric_limits<double>::infinity();
      for (int step = 0; step < 10; ++step) best = std::min(best, error_of(1.0f - 0.05f * static_cast<float>(step)));
      const float share = choice.clips[row * kGroups + group];
      EXPECT_NEAR(error_of(share), best, 1e-4 * best) << "row " << row << ", group " << group << ", " << share;
      EXPECT_TRUE(share >= 0.5499f && share <= 1.0f) << share;
    }
  }
}

TEST_F(ClipSearchTest, KeepsNoClippingThatDoesNotPay) {
  const ClipChoice choice = search_clips(grid_matrix(100, kWidth), gram_, kGroupSize, pool_);
  EXPECT_TRUE(choice.clips.empty());
  EXPECT_EQ(choice.loss, 0);
  EXPECT_EQ(choice.unclipped_loss, 0);
}

TEST_F(ClipSearchTest, DropsSharesThatHelpGroupsButHurtTheLinear) {
  // All inputs are one and the same, so groups' errors add up or cancel, which a single group cannot see.
  Matrix ones(kWidth, kWidth);
  for (float& value : ones.values) value = 1.0f;
  bool dropped = false;
  for (uint32_t seed = 0; seed < 40; ++seed) {
    const Matrix weights = random_matrix(1, kWidth, seed);
    const ClipChoice choice = search_clips(weights, ones, kGroupSize, pool_);
    EXPECT_LE(choice.loss, choice.unclipped_loss);
    EXPECT_EQ(choice.clips.empty(), choice.loss == choice.unclipped_loss);
    dropped = dropped || (choice.clips.empty() && choice.loss > 0);
  }
  EXPECT_TRUE(dropped);
}

TEST_F(ClipSearchTest, GivesTheSameBitsForAnyNumberOfThreads) {
  core::ThreadPool one(1);
  const ClipChoice expected = search_clips(weights_, gram_, kGroupSize, one);
  for (const int threads : {2, 3}) {
    core::ThreadPool pool(threads);
    const ClipChoice choice = search_clips(weights_, gram_, kGroupSize, pool);
    EXPECT_EQ(choice.clips, expected.clips);
    EXPECT_EQ(choice.loss, expected.loss);
  }
}

}  // namespace
}  // namespace salient::quantize
