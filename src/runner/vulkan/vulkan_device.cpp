#include "runner/vulkan/vulkan_device.h"

#include <chrono>
#include <vector>

namespace salient::runner {

namespace {

vk::PhysicalDevice find_device(int index) {
  const auto devices = physical_devices();
  if (devices.empty()) core::fail(core::ErrorKind::kUnsupported, "no driver here offers a Vulkan device");
  if (index < 0 || index >= std::ssize(devices)) {
    core::fail(core::ErrorKind::kNotFound, "there is no Vulkan device {}, expected 0 to {}", index, devices.size() - 1);
  }
  return devices[static_cast<size_t>(index)];
}

/// A family for computing alone runs beside what draws the screen; else any that computes.
uint32_t find_queue_family(vk::PhysicalDevice device) {
  const auto families = device.getQueueFamilyProperties();
  uint32_t found = 0;
  for (uint32_t i = 0; i < families.size(); ++i) {
    if (!(families[i].queueFlags & vk::QueueFlagBits::eCompute)) continue;
    found = i;
    if (!(families[i].queueFlags & vk::QueueFlagBits::eGraphics)) break;
  }
  return found;
}

}  // namespace

VulkanDevice::VulkanDevice(int index, const VulkanFeatures& allowed)
    : physical_(find_device(index)),
      adapter_(describe_adapter(physical_, index)),
      features_{allowed.subgroups && adapter_.features.subgroups, allowed.integer_dot && adapter_.features.integer_dot},
      properties_(physical_.getProperties()),
      memory_(physical_.getMemoryProperties()),
      queue_family_(find_queue_family(physical_)) {
  if (!adapter_.refusal.empty()) core::fail(core::ErrorKind::kUnsupported, "{}", adapter_.refusal);
  const auto sizes =
      physical_.getProperties2<vk::PhysicalDeviceProperties2, vk::PhysicalDeviceMaintenance3Properties>();
  largest_allocation_ = sizes.get<vk::PhysicalDeviceMaintenance3Properties>().maxMemoryAllocationSize;
  translate_errors(adapter_.name, [&] {
    const float priority = 1;
    const vk::DeviceQueueCreateInfo queue({}, queue_family_, 1, &priority);
    std::vector<const char*> extensions;
    vk::PhysicalDeviceShaderIntegerDotProductFeatures integer_dot(true);
    if (features_.integer_dot && properties_.apiVersion < VK_API_VERSION_1_3) {
      extensions.push_back(VK_KHR_SHADER_INTEGER_DOT_PRODUCT_EXTENSION_NAME);
    }
    vk::DeviceCreateInfo info({}, queue, {}, extensions);
    if (features_.integer_dot) info.pNext = &integer_dot;
    device_ = physical_.createDeviceUnique(info);
    queue_ = device_->getQueue(queue_family_, 0);
    done_ = device_->createFenceUnique({});
  });
}

VulkanDevice::~VulkanDevice() = default;

uint32_t VulkanDevice::memory_type(uint32_t allowed_types, vk::MemoryPropertyFlags required,
                                   vk::MemoryPropertyFlags preferred) const {
  for (const vk::MemoryPropertyFlags wanted : {required | preferred, required}) {
    for (uint32_t i = 0; i < memory_.memoryTypeCount; ++i) {
      const bool is_allowed = (allowed_types >> i & 1) != 0;
      if (is_allowed && (memory_.memoryTypes[i].propertyFlags & wanted) == wanted) return i;
    }
  }
  core::fail(core::ErrorKind::kUnsupported, "{}: it has no memory that is {}", adapter_.name, vk::to_string(required));
}

void VulkanDevice::run(vk::CommandBuffer commands) const {
  const vk::SubmitInfo submit({}, {}, commands);
  queue_.submit(submit, *done_);
  // A driver resets a GPU that hangs after seconds; a software driver may compute for minutes.
  constexpr std::chrono::nanoseconds kLongest = std::chrono::minutes(10);
  const vk::Result result = device_->waitForFences(*done_, true, static_cast<uint64_t>(kLongest.count()));
  if (result == vk::Result::eTimeout) {
    core::fail(core::ErrorKind::kDeviceLost, "{}: the device was lost: it has not answered for 10 minutes",
               adapter_.name);
  }
  device_->resetFences(*done_);
  if (result != vk::Result::eSuccess) {
    core::fail(core::ErrorKind::kDeviceLost, "{}: waiting for it ended with {}", adapter_.name, vk::to_string(result));
  }
}

}  // namespace salient::runner
