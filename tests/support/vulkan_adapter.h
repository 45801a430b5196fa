#pragma once

#include <gtest/gtest.h>

#include <string>

#include "runner/vulkan/vulkan_adapter.h"
#include "tests/support/environment.h"

namespace salient::tests {

/// Why there is nothing to test Vulkan on; empty where there is. Tests run under the validation layer: ask before
/// anything else of Vulkan.
inline std::string no_vulkan() {
  set_environment("SALIENT_VULKAN_VALIDATION", "1");
  const auto adapters = runner::list_vulkan_adapters();
  if (adapters.empty()) return "no Vulkan driver, no validation layer, or a build without Vulkan";
  return adapters.front().refusal;
}

}  // namespace salient::tests
