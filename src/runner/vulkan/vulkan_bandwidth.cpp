#include "runner/vulkan/vulkan_bandwidth.h"

#include <algorithm>
#include <chrono>
#include <vector>

#include "runner/vulkan/command_list.h"

namespace salient::runner {

namespace {

constexpr uint64_t kMostBytes = uint64_t{512} << 20;
constexpr uint64_t kMostBufferBytes = uint64_t{128} << 20;  // every device binds so much
/// Of a workgroup of sweep.comp.
constexpr int64_t kGroupBytes = 256 * 16 * 16;

double gigabytes_per_second(uint64_t bytes, const CommandList& commands) {
  const auto start = std::chrono::steady_clock::now();
  commands.run();
  const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - start;
  return static_cast<double>(bytes) / 1e9 / passed.count();
}

}  // namespace

struct VulkanBandwidthProbe::Parts {
  explicit Parts(int adapter);

  VulkanDevice device;
  Pipelines pipelines;
  std::vector<DeviceBuffer> buffers;
  DeviceBuffer sums;
  CommandList sweep;
  CommandList copy;
  uint64_t bytes = 0;
};

VulkanBandwidthProbe::Parts::Parts(int adapter)
    : device(adapter, {}), pipelines(device), sweep(device, pipelines), copy(device, pipelines) {
  const uint64_t wanted = std::min(kMostBytes, device.available_memory() / 4);
  const uint64_t size = std::min(kMostBufferBytes, wanted / 2) / kGroupBytes * kGroupBytes;
  const uint64_t count = std::max<uint64_t>(wanted / size / 2 * 2, 2);
  for (uint64_t i = 0; i < count; ++i) buffers.emplace_back(device, size, MemoryPlace::kDevice);
  bytes = count * size;
  const auto groups = static_cast<int64_t>(size) / kGroupBytes;
  sums = DeviceBuffer(device, static_cast<uint64_t>(groups) * sizeof(uint32_t), MemoryPlace::kDevice);
  // Memory that nobody has written need not exist.
  sweep.begin();
  for (const DeviceBuffer& buffer : buffers) sweep.fill(buffer.slice(), 1);
  sweep.end();
  sweep.run();
  sweep.begin();
  for (const DeviceBuffer& buffer : buffers) {
    sweep.barrier();
    sweep.dispatch(Shader::kSweep, {}, static_cast<uint32_t>(size / 16), {buffer.slice(), sums.slice()}, {groups},
                   {static_cast<int64_t>(size), groups * static_cast<int64_t>(sizeof(uint32_t))});
  }
  sweep.end();
  copy.begin();
  for (uint64_t i = 0; i < count; i += 2) copy.copy(buffers[i].slice(), buffers[i + 1].slice());
  copy.end();
}

VulkanBandwidthProbe::VulkanBandwidthProbe(int adapter) {
  translate_errors("Vulkan", [&] { parts_ = std::make_unique<Parts>(adapter); });
}

VulkanBandwidthProbe::~VulkanBandwidthProbe() = default;

int64_t VulkanBandwidthProbe::bytes() const {
  return static_cast<int64_t>(parts_->bytes);
}

double VulkanBandwidthProbe::read() {
  return translate_errors(parts_->device.adapter().name,
                          [&] { return gigabytes_per_second(parts_->bytes, parts_->sweep); });
}

double VulkanBandwidthProbe::copy() {
  return translate_errors(parts_->device.adapter().name,
                          [&] { return gigabytes_per_second(parts_->bytes, parts_->copy); });
}

}  // namespace salient::runner
