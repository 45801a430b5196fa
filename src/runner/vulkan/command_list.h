#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <type_traits>
#include <vector>
#include <vulkan/vulkan.hpp>

#include "runner/vulkan/device_memory.h"
#include "runner/vulkan/pipelines.h"

namespace salient::runner {

/// Workgroups of a dispatch.
struct GroupCount {
  int64_t x;
  int64_t y = 1;
  int64_t z = 1;
};

/// Bytes that commands move through the device's memory at least: what they need is read once.
struct Traffic {
  int64_t read = 0;
  int64_t written = 0;
};

/// A recording of dispatches and copies, which can be run again and again.
class CommandList {
 public:
  CommandList(const VulkanDevice& device, Pipelines& pipelines);

  void begin();
  void end();
  void run() const { device_.run(*commands_); }

  /// `push` are the push constants, a struct of 4-byte numbers; `slices` the buffers of bindings 0, 1, ...; `traffic`
  /// is what the shader moves, as far as that does not depend on data.
  template <typename Push>
  void dispatch(Shader shader, std::initializer_list<uint32_t> constants, const Push& push,
                std::initializer_list<DeviceSlice> slices, const GroupCount& groups, const Traffic& traffic) {
    add(traffic);
    static_assert(std::is_trivially_copyable_v<Push> && sizeof(Push) <= kPushBytes);
    record(shader, {constants.begin(), constants.size()}, std::as_bytes(std::span(&push, 1)),
           {slices.begin(), slices.size()}, groups);
  }
  void copy(const DeviceSlice& from, const DeviceSlice& to);
  /// Every word of a slice becomes this one.
  void fill(const DeviceSlice& slice, uint32_t word);
  /// What follows sees what came before.
  void barrier();

  /// Since `begin`.
  int64_t dispatches() const { return dispatches_; }
  const Traffic& traffic() const { return traffic_; }

 private:
  void record(Shader shader, std::span<const uint32_t> constants, std::span<const std::byte> push,
              std::span<const DeviceSlice> slices, const GroupCount& groups);
  vk::DescriptorSet next_set();
  void add(const Traffic& traffic) {
    traffic_.read += traffic.read;
    traffic_.written += traffic.written;
  }

  const VulkanDevice& device_;
  Pipelines& pipelines_;
  vk::UniqueCommandPool pool_;
  vk::UniqueCommandBuffer commands_;
  std::vector<vk::UniqueDescriptorPool> set_pools_;
  std::vector<vk::DescriptorSet> sets_;  ///< written again by every recording
  size_t used_sets_ = 0;
  int64_t dispatches_ = 0;
  Traffic traffic_;
};

}  // namespace salient::runner
