#pragma once

#include <gtest/gtest.h>

#include <string>

#include "runner/vulkan/vulkan_adapter.h"

namespace salient::tests {

/// Why there is nothing to test Vulkan on; empty where there is.
inline std::string no_vulkan() {
  const auto adapters = runner::list_vulkan_adapters();
  if (adapters.empty()) return "there is no Vulkan driver, or the build has no Vulkan";
  return adapters.front().refusal;
}

}  // namespace salient::tests
