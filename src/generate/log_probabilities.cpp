#include "generate/log_probabilities.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/math.h"
#include "generate/sampler.h"
#include "kernels/kernels.h"

namespace salient::generate {

LogProbabilities log_probabilities(std::span<const float> logits, int32_t chosen, int64_t top) {
  const float largest = logits[most_likely(logits)];
  const double sum = kernels::active_kernels().sum_exp(logits.data(), std::ssize(logits), largest);
  const auto of = [&](int32_t id) {
    return static_cast<float>(static_cast<double>(logits[id]) - largest - core::log(sum));
  };
  LogProbabilities result{{chosen, of(chosen)}, {}};
  std::vector<int32_t> ids(logits.size());
  std::iota(ids.begin(), ids.end(), 0);
  std::erase_if(ids, [&](int32_t id) { return std::isnan(logits[id]); });
  const auto end = ids.begin() + std::min<int64_t>(top, std::ssize(ids));
  std::partial_sort(ids.begin(), end, ids.end(),
                    [&](int32_t a, int32_t b) { return logits[a] != logits[b] ? logits[a] > logits[b] : a < b; });
  for (auto id = ids.begin(); id != end; ++id) result.top.push_back({*id, of(*id)});
  return result;
}

}  // namespace salient::generate
