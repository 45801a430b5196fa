#include "runner/vulkan/vulkan_instance.h"

#include <fmt/format.h>

#include <algorithm>
#include <mutex>

#include "core/error.h"
#include "core/os.h"

VULKAN_HPP_DEFAULT_DISPATCH_LOADER_DYNAMIC_STORAGE

namespace salient::runner {

namespace {

constexpr const char* kValidationLayer = "VK_LAYER_KHRONOS_validation";

std::mutex messages_mutex;
std::vector<std::string> messages;

VKAPI_ATTR VkBool32 VKAPI_CALL keep_message(VkDebugUtilsMessageSeverityFlagBitsEXT, VkDebugUtilsMessageTypeFlagsEXT,
                                            const VkDebugUtilsMessengerCallbackDataEXT* data, void*) {
  const std::lock_guard lock(messages_mutex);
  messages.emplace_back(data->pMessage);
  return VK_FALSE;
}

#if defined(_WIN32)
constexpr const char* kLoaders[] = {"vulkan-1.dll"};
#elif defined(__APPLE__)
// The one driver there is, without a loader. The system does not look into Homebrew's folder.
constexpr const char* kLoaders[] = {"libMoltenVK.dylib", "/opt/homebrew/lib/libMoltenVK.dylib"};
#else
constexpr const char* kLoaders[] = {"libvulkan.so.1"};
#endif

PFN_vkGetInstanceProcAddr find_entry_point() {
  for (const char* name : kLoaders) {
    try {
      void* entry_point = core::os::find_function(core::os::load_library(name), "vkGetInstanceProcAddr");
      if (entry_point) return reinterpret_cast<PFN_vkGetInstanceProcAddr>(entry_point);
    } catch (const core::Error&) {
      continue;
    }
  }
  core::fail(core::ErrorKind::kUnsupported, "there is no Vulkan loader here ({}): install a GPU driver", kLoaders[0]);
}

/// The instance; it lives as long as the process, as drivers' own threads may.
struct Instance {
  Instance() {
    auto& dispatcher = VULKAN_HPP_DEFAULT_DISPATCHER;
    dispatcher.init(find_entry_point());
    if (!dispatcher.vkEnumerateInstanceVersion) {
      core::fail(core::ErrorKind::kUnsupported, "the Vulkan loader here is of version 1.0, expected 1.1 or later");
    }
    const vk::ApplicationInfo application("salient", 1, "salient", 1, VK_API_VERSION_1_3);
    std::vector<const char*> layers;
    std::vector<const char*> extensions;
    const bool validates = core::os::environment("SALIENT_VULKAN_VALIDATION") == "1";
    if (validates) {
      layers.push_back(kValidationLayer);
      extensions.push_back(VK_EXT_DEBUG_UTILS_EXTENSION_NAME);
    }
    try {
      handle = vk::createInstance({{}, &application, layers, extensions});
    } catch (const vk::LayerNotPresentError&) {
      core::fail(core::ErrorKind::kUnsupported, "SALIENT_VULKAN_VALIDATION is set and {} is not installed",
                 kValidationLayer);
    } catch (const vk::SystemError& error) {
      core::fail(core::ErrorKind::kUnsupported, "Vulkan cannot be used here: {}", error.what());
    }
    dispatcher.init(handle);
    if (validates) {
      using Severity = vk::DebugUtilsMessageSeverityFlagBitsEXT;
      using Type = vk::DebugUtilsMessageTypeFlagBitsEXT;
      messenger = handle.createDebugUtilsMessengerEXT(
          {{}, Severity::eWarning | Severity::eError, Type::eGeneral | Type::eValidation, keep_message});
    }
  }

  vk::Instance handle;
  vk::DebugUtilsMessengerEXT messenger;
};

std::string vendor_name(uint32_t id) {
  switch (id) {
    case 0x1002:
      return "AMD";
    case 0x10de:
      return "NVIDIA";
    case 0x8086:
      return "Intel";
    case 0x106b:
      return "Apple";
    case 0x13b5:
      return "Arm";
    case 0x5143:
      return "Qualcomm";
    case VK_VENDOR_ID_MESA:
      return "Mesa";
    default:
      return fmt::format("{:#06x}", id);
  }
}

std::string type_name(vk::PhysicalDeviceType type) {
  switch (type) {
    case vk::PhysicalDeviceType::eDiscreteGpu:
      return "discrete";
    case vk::PhysicalDeviceType::eIntegratedGpu:
      return "integrated";
    case vk::PhysicalDeviceType::eVirtualGpu:
      return "virtual";
    case vk::PhysicalDeviceType::eCpu:
      return "software";
    default:
      return "other";
  }
}

std::string version_text(uint32_t version) {
  return fmt::format("{}.{}.{}", VK_API_VERSION_MAJOR(version), VK_API_VERSION_MINOR(version),
                     VK_API_VERSION_PATCH(version));
}

/// What the shaders count on, as limits and as what was found; empty where all is there.
std::string find_refusal(const vk::PhysicalDevice& device, const vk::PhysicalDeviceProperties& properties) {
  constexpr uint32_t kSharedBytes = 2 * 32 * 65 * sizeof(float);  // gemm.comp's tiles
  constexpr uint32_t kBindings = 8;
  constexpr uint32_t kThreads = 256;
  const vk::PhysicalDeviceLimits& limits = properties.limits;
  const auto lacks = [&](const char* what, uint32_t found, uint32_t expected) {
    return fmt::format("{}: its {} is {}, expected {} or more", properties.deviceName.data(), what, found, expected);
  };
  if (properties.apiVersion < VK_API_VERSION_1_1) {
    return fmt::format("{}: its driver speaks Vulkan {}, expected 1.1 or later", properties.deviceName.data(),
                       version_text(properties.apiVersion));
  }
  if (limits.maxComputeSharedMemorySize < kSharedBytes) {
    return lacks("maxComputeSharedMemorySize", limits.maxComputeSharedMemorySize, kSharedBytes);
  }
  if (limits.maxPerStageDescriptorStorageBuffers < kBindings) {
    return lacks("maxPerStageDescriptorStorageBuffers", limits.maxPerStageDescriptorStorageBuffers, kBindings);
  }
  if (limits.maxComputeWorkGroupInvocations < kThreads) {
    return lacks("maxComputeWorkGroupInvocations", limits.maxComputeWorkGroupInvocations, kThreads);
  }
  for (const vk::QueueFamilyProperties& family : device.getQueueFamilyProperties()) {
    if (family.queueFlags & vk::QueueFlagBits::eCompute) return {};
  }
  return fmt::format("{}: it has no queue that computes", properties.deviceName.data());
}

bool has_extension(const vk::PhysicalDevice& device, const char* name) {
  const auto extensions = device.enumerateDeviceExtensionProperties();
  return std::any_of(extensions.begin(), extensions.end(),
                     [&](const auto& extension) { return std::string(extension.extensionName.data()) == name; });
}

bool has_subgroup_sums(const vk::PhysicalDeviceSubgroupProperties& subgroups) {
  const auto needed = vk::SubgroupFeatureFlagBits::eBasic | vk::SubgroupFeatureFlagBits::eArithmetic;
  constexpr uint32_t kNarrowest = 4;  // reduce.glsl has room for the results of no more subgroups
  return (subgroups.supportedOperations & needed) == needed &&
         (subgroups.supportedStages & vk::ShaderStageFlagBits::eCompute) && subgroups.subgroupSize >= kNarrowest;
}

bool is_new(const vk::PhysicalDevice& device) {
  return device.getProperties().apiVersion >= VK_API_VERSION_1_3;
}

/// One member of a feature structure that a version or an extension has; false where the device has neither.
template <typename Features>
bool has_feature(const vk::PhysicalDevice& device, const char* extension, vk::Bool32 Features::*member) {
  if (!is_new(device) && !has_extension(device, extension)) return false;
  return device.getFeatures2<vk::PhysicalDeviceFeatures2, Features>().template get<Features>().*member;
}

/// What is there of driver, features and abilities, of a device of Vulkan 1.1 or later.
void describe_features(const vk::PhysicalDevice& device, VulkanAdapter& adapter) {
  const auto subgroups = device.getProperties2<vk::PhysicalDeviceProperties2, vk::PhysicalDeviceSubgroupProperties>();
  adapter.features.subgroups = has_subgroup_sums(subgroups.get<vk::PhysicalDeviceSubgroupProperties>());
  if (is_new(device) || has_extension(device, VK_KHR_DRIVER_PROPERTIES_EXTENSION_NAME)) {
    const auto driver = device.getProperties2<vk::PhysicalDeviceProperties2, vk::PhysicalDeviceDriverProperties>()
                            .get<vk::PhysicalDeviceDriverProperties>();
    adapter.driver = fmt::format("{} {}", driver.driverName.data(), driver.driverInfo.data());
  }
  using IntegerDot = vk::PhysicalDeviceShaderIntegerDotProductFeatures;
  adapter.features.integer_dot =
      has_feature(device, VK_KHR_SHADER_INTEGER_DOT_PRODUCT_EXTENSION_NAME, &IntegerDot::shaderIntegerDotProduct);
  adapter.fast_integer_dot =
      adapter.features.integer_dot &&
      device.getProperties2<vk::PhysicalDeviceProperties2, vk::PhysicalDeviceShaderIntegerDotProductProperties>()
          .get<vk::PhysicalDeviceShaderIntegerDotProductProperties>()
          .integerDotProduct4x8BitPackedSignedAccelerated;
  using Arithmetic = vk::PhysicalDeviceShaderFloat16Int8Features;
  constexpr const char* kArithmetic = VK_KHR_SHADER_FLOAT16_INT8_EXTENSION_NAME;
  adapter.abilities = {
      {"subgroup arithmetic", adapter.features.subgroups, "sums and maxima of a workgroup"},
      {"integer dot product", adapter.features.integer_dot, "int8 activations"},
      {"integer dot product in one instruction", adapter.fast_integer_dot, "int8 activations are chosen", false},
      {"fp16 arithmetic", has_feature(device, kArithmetic, &Arithmetic::shaderFloat16), ""},
      {"int8 arithmetic", has_feature(device, kArithmetic, &Arithmetic::shaderInt8), ""},
      {"16-bit storage",
       has_feature(device, VK_KHR_16BIT_STORAGE_EXTENSION_NAME,
                   &vk::PhysicalDevice16BitStorageFeatures::storageBuffer16BitAccess),
       ""},
      {"8-bit storage",
       has_feature(device, VK_KHR_8BIT_STORAGE_EXTENSION_NAME,
                   &vk::PhysicalDevice8BitStorageFeatures::storageBuffer8BitAccess),
       ""},
      {"cooperative matrix", has_extension(device, "VK_KHR_cooperative_matrix"), ""},
      {"memory budget", has_extension(device, VK_EXT_MEMORY_BUDGET_EXTENSION_NAME), "how much memory is free", false},
  };
}

}  // namespace

vk::Instance vulkan_instance() {
  static const Instance instance;
  return instance.handle;
}

std::vector<vk::PhysicalDevice> physical_devices() {
  return vulkan_instance().enumeratePhysicalDevices();
}

uint64_t available_device_memory(vk::PhysicalDevice device) {
  const bool has_budget = device.getProperties().apiVersion >= VK_API_VERSION_1_1 &&
                          has_extension(device, VK_EXT_MEMORY_BUDGET_EXTENSION_NAME);
  vk::PhysicalDeviceMemoryBudgetPropertiesEXT budget;
  vk::PhysicalDeviceMemoryProperties memory = device.getMemoryProperties();
  if (has_budget) {
    const auto chain =
        device.getMemoryProperties2<vk::PhysicalDeviceMemoryProperties2, vk::PhysicalDeviceMemoryBudgetPropertiesEXT>();
    budget = chain.get<vk::PhysicalDeviceMemoryBudgetPropertiesEXT>();
  }
  uint64_t largest = 0;
  uint64_t available = 0;
  for (uint32_t i = 0; i < memory.memoryHeapCount; ++i) {
    const vk::MemoryHeap& heap = memory.memoryHeaps[i];
    if (!(heap.flags & vk::MemoryHeapFlagBits::eDeviceLocal) || heap.size <= largest) continue;
    largest = heap.size;
    available = has_budget ? budget.heapBudget[i] - std::min(budget.heapBudget[i], budget.heapUsage[i]) : heap.size;
  }
  return available;
}

VulkanAdapter describe_adapter(vk::PhysicalDevice device, int index) {
  const vk::PhysicalDeviceProperties properties = device.getProperties();
  VulkanAdapter adapter;
  adapter.index = index;
  adapter.name = properties.deviceName.data();
  adapter.vendor = vendor_name(properties.vendorID);
  adapter.type = type_name(properties.deviceType);
  adapter.api_version = version_text(properties.apiVersion);
  adapter.driver = fmt::format("{:#x}", properties.driverVersion);
  const vk::PhysicalDeviceMemoryProperties memory = device.getMemoryProperties();
  for (uint32_t i = 0; i < memory.memoryHeapCount; ++i) {
    const vk::MemoryHeap& heap = memory.memoryHeaps[i];
    if (heap.flags & vk::MemoryHeapFlagBits::eDeviceLocal) adapter.memory = std::max(adapter.memory, heap.size);
  }
  adapter.available_memory = available_device_memory(device);
  adapter.refusal = find_refusal(device, properties);
  adapter.features = {false, false};
  if (properties.apiVersion >= VK_API_VERSION_1_1) describe_features(device, adapter);
  return adapter;
}

std::vector<VulkanAdapter> list_vulkan_adapters() {
  std::vector<VulkanAdapter> adapters;
  try {
    for (const vk::PhysicalDevice& device : physical_devices()) {
      adapters.push_back(describe_adapter(device, static_cast<int>(adapters.size())));
    }
  } catch (const core::Error& error) {
    if (error.kind() != core::ErrorKind::kUnsupported) throw;
  } catch (const vk::SystemError& error) {
    core::fail(core::ErrorKind::kInternal, "the Vulkan adapters could not be listed: {}", error.what());
  }
  return adapters;
}

std::string why_no_vulkan_adapter() {
  try {
    vulkan_instance();
  } catch (const core::Error& error) {
    return error.what();
  }
  return "no Vulkan driver here offers a device; a GPU's vendor has one";
}

int choose_vulkan_adapter(const std::vector<VulkanAdapter>& adapters) {
  int chosen = -1;
  for (const VulkanAdapter& adapter : adapters) {
    if (adapter.is_software() || !adapter.refusal.empty()) continue;
    if (adapter.type == "discrete") return adapter.index;
    if (chosen < 0) chosen = adapter.index;
  }
  return chosen;
}

std::vector<std::string> vulkan_validation_messages() {
  const std::lock_guard lock(messages_mutex);
  return messages;
}

}  // namespace salient::runner
