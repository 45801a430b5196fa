#include "runner/vulkan/device_memory.h"

#include <algorithm>
#include <cstring>

#include "core/progress.h"

namespace salient::runner {

namespace {

/// Every device's alignment of bindings divides it.
constexpr uint64_t kAlignment = 256;
/// Buffers of the arena: a small model should not take much, a large one not many.
constexpr uint64_t kSmallestBuffer = uint64_t{8} << 20;
constexpr uint64_t kLargestBuffer = uint64_t{256} << 20;
constexpr uint64_t kStagingBytes = uint64_t{16} << 20;

vk::MemoryPropertyFlags required_of(MemoryPlace place) {
  using Flag = vk::MemoryPropertyFlagBits;
  return place == MemoryPlace::kDevice ? Flag::eDeviceLocal : Flag::eHostVisible | Flag::eHostCoherent;
}

vk::MemoryPropertyFlags preferred_of(MemoryPlace place) {
  return place == MemoryPlace::kReadback ? vk::MemoryPropertyFlagBits::eHostCached : vk::MemoryPropertyFlags();
}

}  // namespace

DeviceBuffer::DeviceBuffer(const VulkanDevice& device, uint64_t bytes, MemoryPlace place) : bytes_(bytes) {
  if (bytes > device.largest_allocation()) {
    core::fail(core::ErrorKind::kOutOfMemory, "{}: {} were asked for at once, it allocates {} at most",
               device.adapter().name, core::format_bytes(bytes), core::format_bytes(device.largest_allocation()));
  }
  using Usage = vk::BufferUsageFlagBits;
  const auto usage = Usage::eStorageBuffer | Usage::eTransferSrc | Usage::eTransferDst;
  try {
    buffer_ = device.handle().createBufferUnique({{}, bytes, usage});
    const vk::MemoryRequirements needs = device.handle().getBufferMemoryRequirements(*buffer_);
    const uint32_t type = device.memory_type(needs.memoryTypeBits, required_of(place), preferred_of(place));
    memory_ = device.handle().allocateMemoryUnique({needs.size, type});
    device.handle().bindBufferMemory(*buffer_, *memory_, 0);
    if (place != MemoryPlace::kDevice) {
      mapped_ = static_cast<std::byte*>(device.handle().mapMemory(*memory_, 0, VK_WHOLE_SIZE));
    }
  } catch (const vk::OutOfDeviceMemoryError&) {
    core::fail(core::ErrorKind::kOutOfMemory, "{}: it has no {} left", device.adapter().name,
               core::format_bytes(bytes));
  }
}

DeviceSlice DeviceArena::allocate(uint64_t bytes) {
  const uint64_t room = (std::max(bytes, uint64_t{4}) + kAlignment - 1) / kAlignment * kAlignment;
  if (buffers_.empty() || room > buffers_.back().bytes() - used_) {
    const uint64_t size = std::clamp(total_, kSmallestBuffer, kLargestBuffer);
    buffers_.emplace_back(device_, std::max(size, room), MemoryPlace::kDevice);
    total_ += buffers_.back().bytes();
    used_ = 0;
  }
  const DeviceSlice slice = buffers_.back().slice().part(used_, std::max(bytes, uint64_t{4}));
  used_ += room;
  return slice;
}

Uploader::Uploader(const VulkanDevice& device)
    : device_(device),
      staging_(device, kStagingBytes, MemoryPlace::kUpload),
      pool_(device.handle().createCommandPoolUnique(
          {vk::CommandPoolCreateFlagBits::eResetCommandBuffer, device.queue_family()})),
      commands_(std::move(
          device.handle().allocateCommandBuffersUnique({*pool_, vk::CommandBufferLevel::ePrimary, 1}).front())) {}

void Uploader::flush(uint64_t first, uint64_t bytes, const DeviceSlice& target) {
  commands_->begin({vk::CommandBufferUsageFlagBits::eOneTimeSubmit});
  commands_->copyBuffer(staging_.slice().buffer, target.buffer, vk::BufferCopy(first, target.offset, bytes));
  commands_->end();
  device_.run(*commands_);
}

void Uploader::write(std::span<const std::byte> bytes, const DeviceSlice& target) {
  for (uint64_t done = 0; done < bytes.size();) {
    const uint64_t count = std::min<uint64_t>(bytes.size() - done, staging_.bytes());
    std::memcpy(staging_.mapped(), bytes.data() + done, count);
    flush(0, count, target.part(done, count));
    done += count;
  }
}

}  // namespace salient::runner
