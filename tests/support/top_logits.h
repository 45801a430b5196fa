#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "runner/runner.h"

namespace salient::tests {

/// The largest logits of one row as Runner::top_logits has them, by sorting all.
inline std::vector<runner::TokenLogit> top_logits_of(std::span<const float> row, int64_t count) {
  std::vector<runner::TokenLogit> all;
  for (size_t id = 0; id < row.size(); ++id) {
    if (!std::isnan(row[id])) all.push_back({static_cast<int32_t>(id), row[id]});
  }
  std::stable_sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.logit > b.logit; });
  if (std::ssize(all) > count) all.resize(static_cast<size_t>(count));
  return all;
}

/// For ASSERT_EQ, which prints them.
inline std::vector<std::pair<int32_t, float>> pairs_of(std::span<const runner::TokenLogit> top) {
  std::vector<std::pair<int32_t, float>> pairs;
  for (const auto& [id, logit] : top) pairs.emplace_back(id, logit);
  return pairs;
}

}  // namespace salient::tests
