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

VulkanAdapter describe_adapter(vk::PhysicalDevice device, int index);

}  // namespace salient::runner
