#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vulkan/vulkan.hpp>

#include "core/error.h"
#include "runner/vulkan/vulkan_instance.h"

namespace salient::runner {

/// Calls `function`, and says what Vulkan could not do in our own errors: device_lost, out_of_memory, or internal.
template <typename Function>
auto translate_errors(const std::string& device, Function&& function) {
  try {
    return function();
  } catch (const vk::DeviceLostError&) {
    core::fail(core::ErrorKind::kDeviceLost,
               "{}: the device was lost: its driver was reset, or a computation took too "
               "long; start again",
               device);
  } catch (const vk::OutOfDeviceMemoryError&) {
    core::fail(core::ErrorKind::kOutOfMemory, "{}: the device has no memory left", device);
  } catch (const vk::OutOfHostMemoryError&) {
    core::fail(core::ErrorKind::kOutOfMemory, "{}: its driver has no memory left", device);
  } catch (const vk::SystemError& error) {
    core::fail(core::ErrorKind::kInternal, "{}: Vulkan failed: {}", device, error.what());
  }
}

/// A logical device with one queue for computing, and those features in use that it has and that are allowed.
class VulkanDevice {
 public:
  /// Throws unsupported where there is no adapter `index` or it cannot run the shaders.
  VulkanDevice(int index, const VulkanFeatures& allowed);
  ~VulkanDevice();

  const VulkanAdapter& adapter() const { return adapter_; }
  const VulkanFeatures& features() const { return features_; }
  const vk::PhysicalDeviceLimits& limits() const { return properties_.limits; }
  const vk::PhysicalDeviceProperties& properties() const { return properties_; }
  /// Bytes of its own memory that are free now; all of it where the driver does not tell.
  uint64_t available_memory() const { return available_device_memory(physical_); }
  uint64_t largest_allocation() const { return largest_allocation_; }
  vk::Device handle() const { return *device_; }
  uint32_t queue_family() const { return queue_family_; }

  /// The index of a memory type among `allowed_types` with `required` properties, and `preferred` ones where there is
  /// one; throws unsupported without.
  uint32_t memory_type(uint32_t allowed_types, vk::MemoryPropertyFlags required,
                       vk::MemoryPropertyFlags preferred) const;

  /// Runs what was recorded and waits until it is done. Throws device_lost when it is not after ten minutes, or never
  /// will be.
  void run(vk::CommandBuffer commands) const;

 private:
  vk::PhysicalDevice physical_;
  VulkanAdapter adapter_;
  VulkanFeatures features_;
  vk::PhysicalDeviceProperties properties_;
  vk::PhysicalDeviceMemoryProperties memory_;
  uint64_t largest_allocation_ = 0;
  uint32_t queue_family_ = 0;
  vk::UniqueDevice device_;
  vk::Queue queue_;
  vk::UniqueFence done_;
};

}  // namespace salient::runner
