#include "checkpoint/rope_words.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

namespace salient::checkpoint {
namespace {

std::vector<float> plain(double theta, int pairs) {
  std::vector<float> frequencies;
  for (int i = 0; i < pairs; ++i) frequencies.push_back(static_cast<float>(std::pow(theta, -double(i) / pairs)));
  return frequencies;
}

TEST(RopeWords, FindThetaFromItsFrequencies) {
  for (const double theta : {10000.0, 500000.0, 1000000.0, 5000000.0, 130000.0, 32000.0}) {
    for (const int pairs : {8, 32, 48, 64}) EXPECT_EQ(find_rope_theta(plain(theta, pairs)), theta) << pairs;
  }
}

TEST(RopeWords, FindThetaDespiteTheRoundingOfATable) {
  std::vector<float> frequencies = plain(10000, 32);
  for (size_t i = 0; i < frequencies.size(); ++i) frequencies[i] *= 1 + (i % 2 ? 1 : -1) * 3e-7f;
  EXPECT_EQ(find_rope_theta(frequencies), 10000);
}

TEST(RopeWords, FindThetaWhereSlowPairsAreStretched) {
  std::vector<float> frequencies = plain(500000, 64);
  for (float& frequency : frequencies) {
    if (frequency < 0.003f) frequency /= 8;
  }
  EXPECT_EQ(find_rope_theta(frequencies), 500000);
}

TEST(RopeWords, FindNoThetaWhereThereIsNone) {
  EXPECT_EQ(find_rope_theta({1, 0.7f, 0.2f, 0.19f, 0.1f}), std::nullopt);
  EXPECT_EQ(find_rope_theta({1}), std::nullopt);
  std::vector<float> slower = plain(10000, 32);
  for (float& frequency : slower) frequency /= 2;
  EXPECT_EQ(find_rope_theta(slower), std::nullopt);
}

/// The rule of Llama 3.1's own code: wavelengths beyond original / 1 are divided by the factor, those below
/// original / 4 stay.
TEST(RopeWords, FindLlama3FromItsDivisors) {
  for (const auto& [factor, original] : {std::pair{8.0, 8192}, std::pair{32.0, 8192}, std::pair{4.0, 256}}) {
    std::vector<float> divisors;
    for (const float frequency : plain(500000, 64)) {
      const double wavelength = 2 * std::numbers::pi / frequency;
      const double smooth = (original / wavelength - 1) / 3;
      const double divisor = wavelength > original       ? factor
                             : wavelength < original / 4 ? 1
                                                         : 1 / ((1 - smooth) / factor + smooth);
      divisors.push_back(static_cast<float>(divisor));
    }
    const auto found = find_llama3_parameters(divisors, 500000);
    ASSERT_TRUE(found);
    EXPECT_EQ((*found)["factor"], factor);
    EXPECT_EQ((*found)["original_max_position_embeddings"], original);
  }
  EXPECT_FALSE(find_llama3_parameters({1, 2, 1, 3}, 500000));
}

TEST(RopeWords, SharesOfAHeadGiveTheDimensionsBack) {
  for (int64_t head_dim = 16; head_dim <= 256; head_dim += 16) {
    for (int64_t dimensions = 2; dimensions <= head_dim; dimensions += 2) {
      EXPECT_EQ(static_cast<int64_t>(partial_rotary_factor(dimensions, head_dim) * static_cast<double>(head_dim)),
                dimensions);
    }
  }
}

/// transformers' configuration of Phi-3 mini 128k: sqrt(1 + ln 32 / ln 4096).
TEST(RopeWords, AttentionFactorOfLongrope) {
  EXPECT_NEAR(longrope_attention_factor(131072 / 4096, 4096), 1.1902380714238083, 1e-12);
  EXPECT_EQ(longrope_attention_factor(4096 / 4096, 4096), 1);
}

}  // namespace
}  // namespace salient::checkpoint
