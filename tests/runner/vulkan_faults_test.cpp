#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <vulkan/vulkan.hpp>

#include "runner/vulkan/vulkan_runner.h"
#include "tests/support/expect_error.h"
#include "tests/support/replaced_function.h"
#include "tests/support/tiny_quantized.h"
#include "tests/support/vulkan_adapter.h"

/// What drivers do when something goes wrong, by replacing the functions that the dispatch loader found.
namespace salient::runner {
namespace {

using core::ErrorKind;
using tests::expect_error;

auto& driver() {
  return VULKAN_HPP_DEFAULT_DISPATCHER;
}

/// Which call of a replaced function fails, counted from 0; -1: none. All of them: `every`.
struct Fault {
  int64_t at = -1;
  bool every = false;
  VkResult result = VK_SUCCESS;
  int64_t calls = 0;

  bool is_now() {
    const int64_t call = calls++;
    return every || call == at;
  }
};

Fault fault;
PFN_vkAllocateMemory real_allocate;
PFN_vkQueueSubmit real_submit;
PFN_vkWaitForFences real_wait;

VKAPI_ATTR VkResult VKAPI_CALL allocate(VkDevice device, const VkMemoryAllocateInfo* info,
                                        const VkAllocationCallbacks* callbacks, VkDeviceMemory* memory) {
  return fault.is_now() ? fault.result : real_allocate(device, info, callbacks, memory);
}
VKAPI_ATTR VkResult VKAPI_CALL submit(VkQueue queue, uint32_t count, const VkSubmitInfo* infos, VkFence fence) {
  return fault.is_now() ? fault.result : real_submit(queue, count, infos, fence);
}
VKAPI_ATTR VkResult VKAPI_CALL wait(VkDevice device, uint32_t count, const VkFence* fences, VkBool32 all,
                                    uint64_t timeout) {
  // What was submitted is finished first: the driver is real.
  const VkResult result = real_wait(device, count, fences, all, timeout);
  return fault.is_now() ? fault.result : result;
}
VKAPI_ATTR VkResult VKAPI_CALL refuse_pipelines(VkDevice, VkPipelineCache, uint32_t, const VkComputePipelineCreateInfo*,
                                                const VkAllocationCallbacks*, VkPipeline*) {
  return fault.result;
}
VKAPI_ATTR VkResult VKAPI_CALL refuse_module(VkDevice, const VkShaderModuleCreateInfo*, const VkAllocationCallbacks*,
                                             VkShaderModule*) {
  return fault.result;
}
VKAPI_ATTR VkResult VKAPI_CALL no_devices(VkInstance, uint32_t* count, VkPhysicalDevice*) {
  *count = 0;
  return VK_SUCCESS;
}
PFN_vkGetPhysicalDeviceProperties real_properties;
VKAPI_ATTR void VKAPI_CALL old_properties(VkPhysicalDevice device, VkPhysicalDeviceProperties* properties) {
  real_properties(device, properties);
  properties->apiVersion = VK_MAKE_API_VERSION(0, 1, 0, 68);
}

class VulkanFaults : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::string reason = tests::no_vulkan(); !reason.empty()) GTEST_SKIP() << reason;
    fault = {};
    auto checkpoint =
        std::make_shared<checkpoint::Checkpoint>(tests::open_tiny_quantized(folder_.path() / "model", {.tied = false}));
    decoder_ = std::make_shared<model::Decoder>(std::move(checkpoint));
    name_ = list_vulkan_adapters().front().name;
  }
  void TearDown() override {
    for (const std::string& message : vulkan_validation_messages()) ADD_FAILURE() << message;
  }

  /// With int8 activations, which need the most buffers.
  std::unique_ptr<ModelRunner> make_runner() {
    return make_vulkan_runner(decoder_, pool_, {.activations = Activations::kInt8});
  }
  std::vector<float> run(ModelRunner& runner, Sequence& sequence) {
    const std::vector<int32_t> tokens = {3, 1, 4, 1, 5};
    const TokenRun run[] = {{tokens, &sequence}};
    return runner.forward(run);
  }
  std::vector<float> logits_of(ModelRunner& runner) {
    Sequence sequence = runner.new_sequence();
    return run(runner, sequence);
  }

  tests::TemporaryFolder folder_;
  core::ThreadPool pool_{1};
  std::shared_ptr<model::Decoder> decoder_;
  std::string name_;
};

TEST_F(VulkanFaults, EveryAllocationMayFail) {
  const tests::ReplacedFunction replaced(driver().vkAllocateMemory, &allocate);
  real_allocate = replaced.original();
  fault.result = VK_ERROR_OUT_OF_DEVICE_MEMORY;
  auto runner = make_runner();
  const int64_t of_making = fault.calls;
  const std::vector<float> expected = logits_of(*runner);
  const int64_t in_all = fault.calls;
  ASSERT_GT(of_making, 3);
  ASSERT_GT(in_all, of_making + 3);
  for (int64_t at = 0; at < in_all; ++at) {
    fault.at = at;
    fault.calls = 0;
    if (at < of_making) {
      expect_error(ErrorKind::kOutOfMemory, {name_, "it has no", "left"}, [&] { make_runner(); });
      continue;
    }
    runner = make_runner();
    Sequence sequence = runner->new_sequence();
    expect_error(ErrorKind::kOutOfMemory, {name_, "it has no", "left"}, [&] { run(*runner, sequence); });
    EXPECT_EQ(sequence.length(), 0) << "allocation " << at;
    EXPECT_FALSE(runner->is_lost());
    // Once there is memory again, the same runner goes on.
    EXPECT_EQ(run(*runner, sequence), expected) << "allocation " << at;
  }
}

TEST_F(VulkanFaults, AllocationsMayFailForWantOfTheHostsMemory) {
  const tests::ReplacedFunction replaced(driver().vkAllocateMemory, &allocate);
  real_allocate = replaced.original();
  fault = {.at = 0, .result = VK_ERROR_OUT_OF_HOST_MEMORY};
  expect_error(ErrorKind::kOutOfMemory, {"its driver has no memory left"}, [&] { make_runner(); });
}

TEST_F(VulkanFaults, ALostDeviceIsSaidAndNotAskedAgain) {
  for (const bool while_waiting : {false, true}) {
    auto runner = make_runner();
    Sequence sequence = runner->new_sequence();
    const std::vector<float> expected = run(*runner, sequence);
    const tests::ReplacedFunction submits(driver().vkQueueSubmit, &submit);
    const tests::ReplacedFunction waits(driver().vkWaitForFences, while_waiting ? &wait : driver().vkWaitForFences);
    real_submit = submits.original();
    real_wait = waits.original();
    fault = {.at = while_waiting ? 1 : 0, .result = VK_ERROR_DEVICE_LOST};
    expect_error(ErrorKind::kDeviceLost, {name_, "the device was lost"}, [&] { run(*runner, sequence); });
    EXPECT_EQ(sequence.length(), 5);
    EXPECT_TRUE(runner->is_lost());
    const int64_t calls = fault.calls;
    expect_error(ErrorKind::kDeviceLost, {name_, "opened again"}, [&] { run(*runner, sequence); });
    EXPECT_EQ(fault.calls, calls);
    // The same device, opened again, computes.
    fault.at = -1;
    runner = make_runner();
    EXPECT_EQ(logits_of(*runner), expected);
  }
}

TEST_F(VulkanFaults, ADeviceThatDoesNotAnswerIsLost) {
  auto runner = make_runner();
  Sequence sequence = runner->new_sequence();
  const tests::ReplacedFunction waits(driver().vkWaitForFences, &wait);
  real_wait = waits.original();
  fault = {.at = 0, .result = VK_TIMEOUT};
  expect_error(ErrorKind::kDeviceLost, {name_, "the device was lost", "not answered"}, [&] { run(*runner, sequence); });
  EXPECT_TRUE(runner->is_lost());
}

TEST_F(VulkanFaults, ADeviceMayBeLostWhileWeightsAreUploaded) {
  const tests::ReplacedFunction replaced(driver().vkQueueSubmit, &submit);
  real_submit = replaced.original();
  fault = {.at = 3, .result = VK_ERROR_DEVICE_LOST};
  expect_error(ErrorKind::kDeviceLost, {"the device was lost"}, [&] { make_runner(); });
}

TEST_F(VulkanFaults, ARefusedShaderIsNamedWithTheDriver) {
  const std::string driver_name = list_vulkan_adapters().front().driver;
  auto runner = make_runner();
  fault.result = VK_ERROR_INVALID_SHADER_NV;
  {
    const tests::ReplacedFunction replaced(driver().vkCreateComputePipelines, &refuse_pipelines);
    expect_error(ErrorKind::kUnsupported, {name_, driver_name, "refuses the shader norm", "newer driver"},
                 [&] { logits_of(*runner); });
  }
  runner = make_runner();
  {
    const tests::ReplacedFunction replaced(driver().vkCreateShaderModule, &refuse_module);
    expect_error(ErrorKind::kUnsupported, {name_, "refuses the shader norm"}, [&] { logits_of(*runner); });
  }
  EXPECT_FALSE(logits_of(*runner).empty());
}

TEST_F(VulkanFaults, ThereMayBeNoAdapter) {
  const tests::ReplacedFunction replaced(driver().vkEnumeratePhysicalDevices, &no_devices);
  EXPECT_TRUE(list_vulkan_adapters().empty());
  EXPECT_NE(why_no_vulkan_adapter().find("no Vulkan driver here offers a device"), std::string::npos);
  expect_error(ErrorKind::kUnsupported, {"no driver here offers a Vulkan device"}, [&] { make_runner(); });
}

TEST_F(VulkanFaults, ADriverMayBeTooOld) {
  const tests::ReplacedFunction replaced(driver().vkGetPhysicalDeviceProperties, &old_properties);
  real_properties = replaced.original();
  const VulkanAdapter adapter = list_vulkan_adapters().front();
  EXPECT_EQ(adapter.api_version, "1.0.68");
  EXPECT_NE(adapter.refusal.find("speaks Vulkan 1.0.68, expected 1.1 or later"), std::string::npos) << adapter.refusal;
  EXPECT_EQ(choose_vulkan_adapter({adapter}), -1);
  expect_error(ErrorKind::kUnsupported, {name_, "1.0.68", "1.1 or later"}, [&] { make_runner(); });
}

}  // namespace
}  // namespace salient::runner
