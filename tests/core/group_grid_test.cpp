#include "core/group_grid.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "core/error.h"

namespace salient::core {
namespace {

std::vector<float> random_weights(size_t count) {
  std::mt19937 engine(11);
  std::normal_distribution<float> normal(0.01f, 0.05f);
  std::vector<float> weights(count);
  for (float& weight : weights) weight = normal(engine);
  return weights;
}

QuantizedTensor make_target(int64_t rows, int bits, int group_size, ZeroKind zeros) {
  QuantizedTensor target;
  target.out_features = rows;
  target.in_features = 64;
  target.bits = bits;
  target.group_size = group_size;
  target.codes.resize(static_cast<size_t>(rows * 64));
  target.scales.resize(static_cast<size_t>(rows * target.groups()));
  (zeros == ZeroKind::kOffset ? target.offsets.resize(target.scales.size())
                              : target.zeros.resize(target.scales.size()));
  return target;
}

TEST(GroupGrid, IsNoWorseThanTheGridOfTheWholeSpan) {
  const auto weights = random_weights(64 * 8);
  for (const int bits : {4, 8}) {
    for (const ZeroKind zeros : {ZeroKind::kInteger, ZeroKind::kMiddle, ZeroKind::kOffset}) {
      QuantizedTensor target = make_target(8, bits, 32, zeros);
      round_groups(weights, zeros, "a", 0, target);
      std::vector<float> rounded(weights.size());
      target.dequantize_rows(0, 8, rounded.data());
      double error = 0;
      double bound = 0;
      for (size_t first = 0; first < weights.size(); first += 32) {
        const auto [low, high] = std::minmax_element(&weights[first], &weights[first] + 32);
        const double longest = std::max(std::abs(*low), std::abs(*high));
        const double span = zeros == ZeroKind::kMiddle ? 2 * longest : double{*high} - *low;
        const double step = span / ((1 << bits) - 1);
        for (size_t i = first; i < first + 32; ++i) {
          error += std::pow(rounded[i] - weights[i], 2);
          bound += step * step / 12;  // of numbers that fall anywhere between the points of a grid
        }
      }
      EXPECT_LT(error, 1.1 * bound) << bits << " bits, kind " << static_cast<int>(zeros);
    }
  }
}

TEST(GroupGrid, RoundsRowsWhereTheyAreAskedFor) {
  const auto weights = random_weights(64 * 3);
  QuantizedTensor whole = make_target(3, 8, 16, ZeroKind::kMiddle);
  round_groups(weights, ZeroKind::kMiddle, "a", 0, whole);
  QuantizedTensor by_row = make_target(3, 8, 16, ZeroKind::kMiddle);
  for (const int64_t row : {2, 0, 1}) {
    round_groups(std::span(weights).subspan(static_cast<size_t>(row) * 64, 64), ZeroKind::kMiddle, "a", row * 64,
                 by_row);
  }
  EXPECT_EQ(by_row.codes, whole.codes);
  EXPECT_EQ(by_row.scales, whole.scales);
  EXPECT_EQ(by_row.zeros, whole.zeros);
}

TEST(GroupGrid, TakesNumbersThatAreOnAGridAsTheyAre) {
  std::vector<float> weights;
  for (int code = 0; code < 16; ++code) weights.push_back(0.25f * static_cast<float>(code - 5));
  const GroupGrid grid = find_grid(weights, 4, ZeroKind::kInteger, "a");
  for (int code = 0; code < 16; ++code) {
    EXPECT_EQ(grid.code_of(weights[code], 15), static_cast<float>(code));
    EXPECT_EQ(grid.value_of(static_cast<float>(code)), weights[code]);
  }
  EXPECT_EQ(grid.code_of(100.0f, 15), 15.0f);
  EXPECT_EQ(grid.code_of(-100.0f, 15), 0.0f);
}

TEST(GroupGrid, RefusesWhatFp16CannotScale) {
  for (const float bad : {1e9f, INFINITY, NAN}) {
    std::vector<float> weights(16, 1.0f);
    weights[3] = bad;
    try {
      find_grid(weights, 4, ZeroKind::kInteger, "lm_head");
      ADD_FAILURE() << bad;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kInvalidInput);
      EXPECT_NE(std::string(error.what()).find("tensor lm_head: "), std::string::npos) << error.what();
    }
  }
}

}  // namespace
}  // namespace salient::core
