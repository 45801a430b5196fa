#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace salient::runner {

/// What the runner may make use of where a device has it. Each can be left out, for tests and for drivers that fail.
struct VulkanFeatures {
  bool subgroups = true;    ///< sums and maxima through the registers of a subgroup
  bool integer_dot = true;  ///< four products of int8 numbers in one instruction
};

/// Something that a device has or has not.
struct VulkanAbility {
  std::string name;
  bool is_present = false;
  std::string use;         ///< by the shaders; empty: none
  bool was_tested = true;  ///< on the software driver, which has no more than correct results to show
};

/// A device that a Vulkan driver offers.
struct VulkanAdapter {
  int index = 0;  ///< "gpu:N" names it
  std::string name;
  std::string vendor;
  std::string type;  ///< "discrete", "integrated", "virtual", "software" or "other"
  std::string driver;
  std::string api_version;
  uint64_t memory = 0;            ///< bytes of its largest heap of its own
  uint64_t available_memory = 0;  ///< of these
  VulkanFeatures features;
  bool fast_integer_dot = false;  ///< the device has the instruction, its driver need not imitate it
  std::vector<VulkanAbility> abilities;
  std::string refusal;  ///< why no model can run on it; empty: one can

  bool is_software() const { return type == "software"; }
};

/// All adapters; none where there is no loader or no driver.
std::vector<VulkanAdapter> list_vulkan_adapters();

/// Why there is none, in words that a sentence ends with.
std::string why_no_vulkan_adapter();

/// Of the adapter that a model should run on where nothing else was asked for: the first discrete one, else the first
/// that is not software; -1 where there is none.
int choose_vulkan_adapter(const std::vector<VulkanAdapter>& adapters);

/// What Khronos's validation layer said since the process began; SALIENT_VULKAN_VALIDATION=1 switches it on.
std::vector<std::string> vulkan_validation_messages();

}  // namespace salient::runner
