#include "runner/cpu_kv_cache.h"

#include <algorithm>
#include <type_traits>

namespace salient::runner {

namespace {

void convert(const float* from, int64_t size, uint16_t* to) {
  kernels::active_kernels().to_half(from, size, to);
}
void convert(const float* from, int64_t size, float* to) {
  std::copy_n(from, size, to);
}
/// Returns the scale, in fp16.
uint16_t convert(const float* from, int64_t size, int8_t* to) {
  const kernels::KernelSet& kernels = kernels::active_kernels();
  float scale;
  int32_t sum;
  kernels.quantize_int8(from, size, static_cast<int>(size), to, &scale, &sum);
  uint16_t half_scale;
  kernels.to_half(&scale, 1, &half_scale);
  return half_scale;
}

/// One head's key, which goes across the lanes of its block, and value.
template <typename Number>
void store_head(const float* key, const float* value, int64_t head_dim, int64_t position, Number* keys,
                Number* values) {
  constexpr int64_t kLanes = kernels::kLanes;
  Number converted[kernels::kMaxHeadDim];
  if constexpr (std::is_same_v<Number, int8_t>) {
    const auto scales_of = [&](Number* all) {
      return reinterpret_cast<uint16_t*>(all + kernels::kPageKeys * head_dim);
    };
    scales_of(keys)[position] = convert(key, head_dim, converted);
    scales_of(values)[position] = convert(value, head_dim, values + position * head_dim);
  } else {
    convert(key, head_dim, converted);
    convert(value, head_dim, values + position * head_dim);
  }
  Number* block = keys + position / kLanes * kLanes * head_dim;
  for (int64_t d = 0; d < head_dim; ++d) block[d * kLanes + position % kLanes] = converted[d];
}

}  // namespace

CpuKvCache::CpuKvCache(int64_t layers, int64_t kv_heads, int64_t head_dim, core::DType dtype)
    : layers_(layers), kv_heads_(kv_heads), head_dim_(head_dim), dtype_(dtype) {}

void CpuKvCache::copy_page(int32_t from, int32_t to) {
  std::copy_n(pages_[from].data(), kernels::kPageKeys * bytes_per_token(), pages_[to].data());
}

void CpuKvCache::store(std::byte* page, int64_t layer, int64_t position_in_page, const float* key, const float* value) {
  const auto store_heads = [&](auto* numbers) {
    for (int64_t head = 0; head < kv_heads_; ++head) {
      store_head(key + head * head_dim_, value + head * head_dim_, head_dim_, position_in_page,
                 numbers + key_offset(layer, head), numbers + value_offset(layer, head));
    }
  };
  if (dtype_ == core::DType::kI8) {
    store_heads(reinterpret_cast<int8_t*>(page));
  } else if (dtype_ == core::DType::kF16) {
    store_heads(reinterpret_cast<uint16_t*>(page));
  } else {
    store_heads(reinterpret_cast<float*>(page));
  }
}

}  // namespace salient::runner
