#include "runner/vulkan/vulkan_kv_cache.h"

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "core/progress.h"

namespace salient::runner {

namespace {

constexpr int64_t kFirstPages = 16;

/// Of one layer: int8 numbers have an fp32 scale for each key and each value of a head.
int64_t page_bytes_of(const model::DecoderSpec& spec, core::DType dtype) {
  const int64_t head_bytes = dtype == core::DType::kI8 ? spec.head_dim + static_cast<int64_t>(sizeof(float))
                                                       : spec.head_dim * static_cast<int64_t>(sizeof(uint16_t));
  return spec.kv_heads * 2 * VulkanKvCache::kPageKeys * head_bytes;
}

}  // namespace

VulkanKvCache::VulkanKvCache(std::shared_ptr<const VulkanDevice> device, Pipelines& pipelines,
                             const model::DecoderSpec& spec, core::DType dtype)
    : device_(std::move(device)),
      commands_(*device_, pipelines),
      dtype_(dtype),
      layers_(spec.layers),
      page_bytes_(page_bytes_of(spec, dtype)) {}

uint64_t VulkanKvCache::first_bytes(const model::DecoderSpec& spec, core::DType dtype) {
  return static_cast<uint64_t>(spec.layers * kFirstPages * page_bytes_of(spec, dtype));
}

int64_t VulkanKvCache::most_pages() const {
  return static_cast<int64_t>(device_->limits().maxStorageBufferRange) / page_bytes_;
}

DeviceSlice VulkanKvCache::layer(int64_t index) const {
  return buffers_[static_cast<size_t>(index)].slice();
}

void VulkanKvCache::add_page() {
  if (pages_ < capacity_) {
    ++pages_;
    return;
  }
  const int64_t capacity = std::min(std::max(kFirstPages, 2 * capacity_), most_pages());
  if (capacity <= capacity_) {
    core::fail(core::ErrorKind::kOutOfMemory,
               "{}: keys and values of {} tokens are all it can hold: it binds {} of one layer at most",
               device_->adapter().name, capacity_ * kPageKeys,
               core::format_bytes(device_->limits().maxStorageBufferRange));
  }
  translate_errors(device_->adapter().name, [&] {
    buffers_.resize(static_cast<size_t>(layers_));
    // Recordings bind what is replaced, also when this ends half way.
    ++generation_;
    for (DeviceBuffer& buffer : buffers_) grow(buffer, static_cast<uint64_t>(capacity * page_bytes_));
  });
  capacity_ = capacity;
  ++pages_;
}

/// One layer after the other, so that never more than one is there twice.
void VulkanKvCache::grow(DeviceBuffer& buffer, uint64_t bytes) {
  if (buffer.bytes() >= bytes) return;
  DeviceBuffer larger(*device_, bytes, MemoryPlace::kDevice);
  if (pages_ > 0) {
    commands_.begin();
    commands_.copy(buffer.slice().part(0, static_cast<uint64_t>(pages_ * page_bytes_)), larger.slice());
    commands_.end();
    commands_.run();
  }
  buffer = std::move(larger);
}

void VulkanKvCache::copy_page(int32_t from, int32_t to) {
  const auto page = [&](int64_t index, int32_t id) {
    return layer(index).part(static_cast<uint64_t>(id * page_bytes_), static_cast<uint64_t>(page_bytes_));
  };
  translate_errors(device_->adapter().name, [&] {
    commands_.begin();
    for (int64_t i = 0; i < layers_; ++i) commands_.copy(page(i, from), page(i, to));
    commands_.end();
    commands_.run();
  });
}

}  // namespace salient::runner
