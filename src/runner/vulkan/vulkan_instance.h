#pragma once

#include <cstdint>
#include <string>
#include <vector>
#include <vulkan/vulkan.hpp>

#include "runner/vulkan/vulkan_adapter.h"

namespace salient::runner {

/// The process's Vulkan instance, made when it is first asked for. Throws unsupported without a loader.
vk::Instance vulkan_instance();

/// What the loader found, in its order; `VulkanAdapter::index` counts them.
std::vector<vk::PhysicalDevice> physical_devices();

/// Bytes of the largest heap of its own that are free now; all of them where the driver does not tell.
uint64_t available_device_memory(vk::PhysicalDevice device);

VulkanAdapter describe_adapter(vk::PhysicalDevice device, int index);

}  // namespace salient::runner
