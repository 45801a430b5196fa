#include "runner/cpu_kv_cache.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace salient::runner {
namespace {

constexpr int64_t kLayers = 2;
constexpr int64_t kHeads = 3;
constexpr int64_t kHeadDim = 32;

float key_number(int64_t layer, int64_t position, int64_t i) {
  return std::sin(static_cast<float>(1 + i + 97 * position + 31 * layer)) * static_cast<float>(position + 1);
}

/// A page whose every token of every layer has been stored: values are the keys, negated.
std::byte* fill_page(CpuKvCache& cache) {
  std::byte* page = cache.page(cache.allocate());
  std::vector<float> key(kHeads * kHeadDim);
  std::vector<float> value(key.size());
  for (int64_t layer = 0; layer < kLayers; ++layer) {
    for (int64_t position = 0; position < cache.page_tokens(); ++position) {
      for (int64_t i = 0; i < std::ssize(key); ++i) {
        key[i] = key_number(layer, position, i);
        value[i] = -key[i];
      }
      cache.store(page, layer, position, key.data(), value.data());
    }
  }
  return page;
}

TEST(CpuKvCache, Int8NumbersAreWithinHalfAStepOfWhatWasStored) {
  CpuKvCache cache(kLayers, kHeads, kHeadDim, core::DType::kI8);
  const std::byte* page = fill_page(cache);
  for (int64_t layer = 0; layer < kLayers; ++layer) {
    for (int64_t head = 0; head < kHeads; ++head) {
      const auto* keys = reinterpret_cast<const int8_t*>(page) + cache.key_offset(layer, head);
      const auto* values = reinterpret_cast<const int8_t*>(page) + cache.value_offset(layer, head);
      const auto* key_scales = reinterpret_cast<const uint16_t*>(keys + kernels::kPageKeys * kHeadDim);
      const auto* value_scales = reinterpret_cast<const uint16_t*>(values + kernels::kPageKeys * kHeadDim);
      for (int64_t position = 0; position < kernels::kPageKeys; ++position) {
        const float key_scale = core::half_to_float(key_scales[position]);
        const float value_scale = core::half_to_float(value_scales[position]);
        float largest = 0;
        for (int64_t d = 0; d < kHeadDim; ++d) {
          const float stored = key_number(layer, position, head * kHeadDim + d);
          largest = std::max(largest, std::fabs(stored));
          const int8_t key = keys[(position / 16 * kHeadDim + d) * 16 + position % 16];
          // Half a step, and up to 127 times what rounding the scale to fp16 moved it by.
          const float bound = key_scale * (0.5f + 127 * 0x1p-11f);
          EXPECT_NEAR(static_cast<float>(key) * key_scale, stored, bound);
          EXPECT_NEAR(static_cast<float>(values[position * kHeadDim + d]) * value_scale, -stored, bound);
        }
        EXPECT_NEAR(key_scale, largest / 127, largest / 127 * 0x1p-11f);
      }
    }
  }
}

TEST(CpuKvCache, ATokensBytesAreThoseOfItsNumbersAndScales) {
  const int64_t numbers = kLayers * kHeads * 2 * kHeadDim;
  EXPECT_EQ(CpuKvCache(kLayers, kHeads, kHeadDim, core::DType::kF32).bytes_per_token(), 4 * numbers);
  EXPECT_EQ(CpuKvCache(kLayers, kHeads, kHeadDim, core::DType::kF16).bytes_per_token(), 2 * numbers);
  EXPECT_EQ(CpuKvCache(kLayers, kHeads, kHeadDim, core::DType::kI8).bytes_per_token(),
            numbers + 2 * kLayers * kHeads * 2);
}

TEST(CpuKvCache, KeysOfZerosStayZeros) {
  CpuKvCache cache(1, 1, kHeadDim, core::DType::kI8);
  std::byte* page = cache.page(cache.allocate());
  const std::vector<float> zeros(kHeadDim);
  cache.store(page, 0, 5, zeros.data(), zeros.data());
  for (int64_t i = 0; i < kernels::kPageKeys * cache.bytes_per_token(); ++i) EXPECT_EQ(page[i], std::byte{0});
}

}  // namespace
}  // namespace salient::runner
