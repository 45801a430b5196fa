#include "generate/logprobs.h"

#include <algorithm>
#include <numeric>

#include "core/math.h"
#include "kernels/kernels.h"

namespace salient::generate {

TokenLogprobs logprobs_of(std::span<const float> logits, int32_t id, int64_t top) {
  const kernels::KernelSet& kernels = kernels::active_kernels();
  const float largest = kernels.maximum(logits.data(), std::ssize(logits));
  const float log_sum =
      largest + static_cast<float>(core::log(kernels.sum_exp(logits.data(), std::ssize(logits), largest)));
  TokenLogprobs result{{id, logits[id] - log_sum}, {}};
  if (top == 0) return result;
  std::vector<int32_t> ids(logits.size());
  std::iota(ids.begin(), ids.end(), 0);
  const auto end = ids.begin() + std::min(top, std::ssize(ids));
  std::partial_sort(ids.begin(), end, ids.end(),
                    [&](int32_t a, int32_t b) { return logits[a] != logits[b] ? logits[a] > logits[b] : a < b; });
  for (auto it = ids.begin(); it != end; ++it) result.top.push_back({*it, logits[*it] - log_sum});
  return result;
}

}  // namespace salient::generate
