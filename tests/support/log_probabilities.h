#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

namespace salient::tests {

inline double log_sum_exp(std::span<const float> row) {
  const double largest = *std::max_element(row.begin(), row.end());
  double sum = 0;
  for (const float logit : row) sum += std::exp(logit - largest);
  return largest + std::log(sum);
}

/// The largest difference of log-probabilities of two [rows, vocab] matrices of logits.
inline double largest_difference(const std::vector<float>& a, const std::vector<float>& b, int64_t vocab) {
  EXPECT_EQ(a.size(), b.size());
  double largest = 0;
  for (size_t first = 0; first < std::min(a.size(), b.size()); first += static_cast<size_t>(vocab)) {
    const std::span row_a(&a[first], static_cast<size_t>(vocab));
    const std::span row_b(&b[first], static_cast<size_t>(vocab));
    const double shift = log_sum_exp(row_a) - log_sum_exp(row_b);
    for (int64_t i = 0; i < vocab; ++i) {
      const double difference = std::abs(row_a[i] - row_b[i] - shift);
      // A NaN is larger than anything.
      if (!(difference <= largest)) largest = std::isnan(difference) ? INFINITY : difference;
    }
  }
  return largest;
}

}  // namespace salient::tests
