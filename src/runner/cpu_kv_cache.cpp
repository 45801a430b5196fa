#include "runner/cpu_kv_cache.h"

namespace salient::runner {

CpuKvCache::CpuKvCache(int64_t layers, int64_t kv_heads, int64_t head_dim)
    : layers_(layers), kv_heads_(kv_heads), head_dim_(head_dim) {}

int32_t CpuKvCache::allocate() {
  if (free_.empty()) {
    free_.reserve(pages_.size() + 1);  // so that release cannot fail
    pages_.emplace_back(layers_ * kv_heads_ * 2 * kernels::kPageKeys * head_dim_);
    return static_cast<int32_t>(pages_.size() - 1);
  }
  const int32_t page = free_.back();
  free_.pop_back();
  return page;
}

void CpuKvCache::store(uint16_t* page, int64_t layer, int64_t position_in_page, const float* key, const float* value) {
  const kernels::KernelSet& kernels = kernels::active_kernels();
  constexpr int64_t kLanes = kernels::kLanes;
  for (int64_t head = 0; head < kv_heads_; ++head) {
    uint16_t halves[kernels::kMaxHeadDim];
    kernels.to_half(key + head * head_dim_, head_dim_, halves);
    uint16_t* keys = page + key_offset(layer, head) + position_in_page / kLanes * kLanes * head_dim_;
    for (int64_t d = 0; d < head_dim_; ++d) keys[d * kLanes + position_in_page % kLanes] = halves[d];
    kernels.to_half(value + head * head_dim_, head_dim_,
                    page + value_offset(layer, head) + position_in_page * head_dim_);
  }
}

}  // namespace salient::runner
