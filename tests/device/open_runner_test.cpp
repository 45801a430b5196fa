#include "device/open_runner.h"

#include <gtest/gtest.h>

#include "tests/support/environment.h"
#include "tests/support/expect_error.h"
#include "tests/support/tiny_quantized.h"
#include "tests/support/vulkan_adapter.h"

namespace salient::device {
namespace {

using core::ErrorKind;
using tests::expect_error;

class OpenRunner : public testing::Test {
 protected:
  OpenRunner()
      : decoder_(std::make_shared<model::Decoder>(std::make_shared<checkpoint::Checkpoint>(
            tests::open_tiny_quantized(folder_.path() / "model", {.tied = false})))) {}
  ~OpenRunner() override { tests::unset_environment("SALIENT_VULKAN_FEATURES"); }

  OpenedRunner open(const std::string& device, RunnerOptions options = {}) {
    options.device = parse_device(device);
    return open_runner(decoder_, pool_, options);
  }

  tests::TemporaryFolder folder_;
  core::ThreadPool pool_{1};
  std::shared_ptr<model::Decoder> decoder_;
};

TEST_F(OpenRunner, OnTheCpuRoundsAsTheOptionsSay) {
  const OpenedRunner usual = open("cpu");
  EXPECT_EQ(usual.runner->device(), "cpu");
  EXPECT_EQ(usual.reason, "");
  EXPECT_EQ(usual.runner->activations(), runner::Activations::kInt8);
  EXPECT_EQ(usual.runner->kv_dtype(), core::DType::kF16);
  const OpenedRunner exact = open("cpu", {.exact = true});
  EXPECT_EQ(exact.runner->activations(), runner::Activations::kFp32);
  EXPECT_EQ(exact.runner->kv_dtype(), core::DType::kF32);
  EXPECT_EQ(open("cpu", {.kv_dtype = core::DType::kI8, .exact = true}).runner->kv_dtype(), core::DType::kI8);
  EXPECT_EQ(open("cpu", {.head = runner::HeadPrecision::kInt8}).runner->rounded_head()->bits, 8);
}

TEST_F(OpenRunner, DoesNotRoundActivationsWhereTheFormatForbidsIt) {
  auto checkpoint = std::make_shared<checkpoint::Checkpoint>(decoder_->checkpoint());
  checkpoint->float_activations = true;
  decoder_ = std::make_shared<model::Decoder>(checkpoint);
  const OpenedRunner opened = open("cpu");
  EXPECT_EQ(opened.runner->activations(), runner::Activations::kFp32);
  EXPECT_EQ(opened.runner->kv_dtype(), core::DType::kF16);
  EXPECT_EQ(vulkan_options(*decoder_, {}, 0).activations, runner::Activations::kFp32);
}

TEST_F(OpenRunner, ChoosesAndSaysWhy) {
  const auto adapters = runner::list_vulkan_adapters();
  const int best = runner::choose_vulkan_adapter(adapters);
  const OpenedRunner opened = open("auto");
  EXPECT_NE(opened.reason.find("device auto: "), std::string::npos);
  if (best >= 0) {
    EXPECT_EQ(opened.runner->device(), "gpu:" + std::to_string(best));
    return;
  }
  EXPECT_EQ(opened.runner->device(), "cpu");
  EXPECT_NE(opened.reason.find("there is no GPU"), std::string::npos) << opened.reason;
  for (const auto& adapter : adapters) EXPECT_NE(opened.reason.find(adapter.name), std::string::npos);
  expect_error(ErrorKind::kUnsupported, {"there is no GPU here"}, [&] { open("gpu"); });
}

class OpenOnGpu : public OpenRunner {
 protected:
  void SetUp() override {
    if (const std::string reason = tests::no_vulkan(); !reason.empty()) GTEST_SKIP() << reason;
  }
};

TEST_F(OpenOnGpu, ByItsName) {
  const OpenedRunner opened = open("gpu:0");
  EXPECT_EQ(opened.runner->device(), "gpu:0");
  EXPECT_EQ(opened.reason, "");
  const std::string name = runner::list_vulkan_adapters().front().name;
  EXPECT_NE(opened.runner->device_description().find("gpu:0 " + name), std::string::npos);
  EXPECT_GT(opened.runner->bytes_per_token(), 0);
  EXPECT_GT(opened.runner->available_memory(), 0u);
  expect_error(ErrorKind::kNotFound, {"there is no gpu:77", "gpu:0 is " + name}, [&] { open("gpu:77"); });
}

TEST_F(OpenOnGpu, HoldsKeysAndValuesAsTheOptionsSay) {
  EXPECT_EQ(open("gpu:0", {.exact = true}).runner->kv_dtype(), core::DType::kF16);
  EXPECT_EQ(open("gpu:0", {.kv_dtype = core::DType::kI8}).runner->kv_dtype(), core::DType::kI8);
}

TEST_F(OpenOnGpu, UsesTheFeaturesThatTheEnvironmentLists) {
  const auto description = [&](const char* features) {
    tests::set_environment("SALIENT_VULKAN_FEATURES", features);
    return open("gpu:0").runner->device_description();
  };
  EXPECT_NE(description("none").find("subgroups off, integer dot products off"), std::string::npos);
  EXPECT_NE(description("subgroups").find("subgroups on, integer dot products off"), std::string::npos);
  tests::set_environment("SALIENT_VULKAN_FEATURES", "integer_dot,int8_activations");
  EXPECT_EQ(open("gpu:0").runner->activations(), runner::Activations::kInt8);
  EXPECT_EQ(open("gpu:0", {.exact = true}).runner->activations(), runner::Activations::kFp32);
  tests::set_environment("SALIENT_VULKAN_FEATURES", "subgroups,speed");
  expect_error(ErrorKind::kInvalidInput, {"SALIENT_VULKAN_FEATURES", "\"speed\""}, [&] { open("gpu:0"); });
}

}  // namespace
}  // namespace salient::device
