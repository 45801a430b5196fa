#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>
#include <vulkan/vulkan.hpp>

#include "runner/vulkan/vulkan_device.h"

namespace salient::runner {

/// Some bytes of a buffer on the device.
struct DeviceSlice {
  vk::Buffer buffer;
  uint64_t offset = 0;
  uint64_t bytes = 0;

  DeviceSlice part(uint64_t first, uint64_t size) const { return {buffer, offset + first, size}; }
};

/// Where a buffer's memory is: the device's own, or the host's, mapped, to write to the device or to read from it.
enum class MemoryPlace { kDevice, kUpload, kReadback };

/// A buffer with memory of its own.
class DeviceBuffer {
 public:
  DeviceBuffer() = default;
  /// Throws out_of_memory with the size.
  DeviceBuffer(const VulkanDevice& device, uint64_t bytes, MemoryPlace place);

  DeviceSlice slice() const { return {*buffer_, 0, bytes_}; }
  uint64_t bytes() const { return bytes_; }
  /// Of a buffer in the host's memory.
  std::byte* mapped() const { return mapped_; }

 private:
  uint64_t bytes_ = 0;
  vk::UniqueDeviceMemory memory_;
  vk::UniqueBuffer buffer_;
  std::byte* mapped_ = nullptr;
};

/// Hands out slices of few large buffers on the device; all are freed at once, with the arena.
class DeviceArena {
 public:
  explicit DeviceArena(const VulkanDevice& device) : device_(device) {}

  /// A slice that can be bound as it is, so of no more bytes than the device binds. Throws out_of_memory.
  DeviceSlice allocate(uint64_t bytes);
  uint64_t allocated_bytes() const { return total_; }

 private:
  const VulkanDevice& device_;
  std::vector<DeviceBuffer> buffers_;
  uint64_t used_ = 0;   ///< of the last buffer
  uint64_t total_ = 0;  ///< of all
};

/// Copies host memory to the device through one mapped buffer.
class Uploader {
 public:
  explicit Uploader(const VulkanDevice& device);

  /// Where to write what `flush` copies.
  std::span<std::byte> room() const { return {staging_.mapped(), staging_.bytes()}; }
  /// Copies `bytes` of `room()` from `first` on to the beginning of `target`, and waits.
  void flush(uint64_t first, uint64_t bytes, const DeviceSlice& target);
  /// Copies all bytes, in as many turns as it takes.
  void write(std::span<const std::byte> bytes, const DeviceSlice& target);

 private:
  const VulkanDevice& device_;
  DeviceBuffer staging_;
  vk::UniqueCommandPool pool_;
  vk::UniqueCommandBuffer commands_;
};

}  // namespace salient::runner
