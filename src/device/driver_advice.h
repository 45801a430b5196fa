#pragma once

#include <string>

#include "runner/vulkan/vulkan_adapter.h"

namespace salient::device {

/// What a person should do about a driver that is too old, or too old for all that the shaders could use, and where the
/// vendor keeps new ones; empty where there is nothing to say.
std::string driver_advice(const runner::VulkanAdapter& adapter);

}  // namespace salient::device
