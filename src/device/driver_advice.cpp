#include "device/driver_advice.h"

#include <fmt/format.h>

namespace salient::device {

namespace {

std::string place_of_drivers(const std::string& vendor) {
  if (vendor == "AMD") return "https://www.amd.com/support, or Mesa in a newer Linux distribution";
  if (vendor == "NVIDIA") return "https://www.nvidia.com/drivers";
  if (vendor == "Intel") return "https://www.intel.com/download-center, or Mesa in a newer Linux distribution";
  if (vendor == "Qualcomm") return "the maker of the computer, or https://softwarecenter.qualcomm.com";
  if (vendor == "Mesa") return "Mesa in a newer Linux distribution";
  return "the maker of the device";
}

/// "1.2.131" is older than 1.3.
bool is_older(const std::string& version, int major, int minor) {
  const auto dot = version.find('.');
  const int found_major = std::stoi(version);
  const int found_minor = std::stoi(version.substr(dot + 1));
  return found_major < major || (found_major == major && found_minor < minor);
}

}  // namespace

std::string driver_advice(const runner::VulkanAdapter& adapter) {
  const std::string place = place_of_drivers(adapter.vendor);
  if (is_older(adapter.api_version, 1, 1)) {
    return fmt::format("its driver is too old: it speaks Vulkan {}, and Salient needs 1.1: see {}", adapter.api_version,
                       place);
  }
  if (is_older(adapter.api_version, 1, 3) && !adapter.features.integer_dot) {
    return fmt::format(
        "its driver speaks Vulkan {}: those of 1.3, which vendors have had since 2022, offer integer dot products: "
        "see {}",
        adapter.api_version, place);
  }
  return {};
}

}  // namespace salient::device
