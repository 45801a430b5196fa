#pragma once

#include <string>

namespace salient::device {

/// A device as a person names it.
struct DeviceName {
  enum class Kind { kCpu, kGpu, kAuto };
  Kind kind = Kind::kCpu;
  int gpu = kBestGpu;  ///< VulkanAdapter::index

  static constexpr int kBestGpu = -1;
};

/// "cpu", "gpu" (the best one that is no software), "gpu:1" or "auto". Throws invalid_input for another word.
DeviceName parse_device(const std::string& text);

/// As parse_device reads it.
std::string to_string(const DeviceName& name);

}  // namespace salient::device
