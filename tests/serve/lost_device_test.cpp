#include <gtest/gtest.h>

#include <chrono>
#include <fstream>
#include <future>
#include <thread>
#include <vulkan/vulkan.hpp>

#include "core/error.h"
#include "serve/engine.h"
#include "tests/support/chat_model.h"
#include "tests/support/replaced_function.h"
#include "tests/support/vulkan_adapter.h"

namespace salient::serve {
namespace {

VKAPI_ATTR VkResult VKAPI_CALL lose(VkQueue, uint32_t, const VkSubmitInfo*, VkFence) {
  return VK_ERROR_DEVICE_LOST;
}

class LostDevice : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::string reason = tests::no_vulkan(); !reason.empty()) GTEST_SKIP() << reason;
    tests::write_chat_model(folder_.path() / "tiny");
  }

  static EngineOptions options() {
    EngineOptions options;
    options.threads = 1;
    options.model.kv_bytes = 16 << 20;
    options.model.runner.device = device::parse_device("gpu:0");
    return options;
  }

  /// What a reply of three tokens ends with.
  static generate::ReplyUpdate reply(Engine& engine, const std::shared_ptr<ServedModel>& model) {
    auto promise = std::make_shared<std::promise<generate::ReplyUpdate>>();
    auto last = promise->get_future();
    generate::ReplyRequest request;
    request.prompt = {1, 2, 3};
    request.max_tokens = 3;
    request.on_update = [promise](generate::ReplyUpdate update) {
      if (update.reply || update.failure) promise->set_value(std::move(update));
    };
    std::vector<generate::ReplyRequest> requests;
    requests.push_back(std::move(request));
    engine.submit(model, std::move(requests));
    if (last.wait_for(std::chrono::seconds(60)) != std::future_status::ready) {
      ADD_FAILURE() << "the reply hangs";
      return {};
    }
    return last.get();
  }

  static void expect_lost(const generate::ReplyUpdate& update) {
    ASSERT_TRUE(update.failure);
    try {
      std::rethrow_exception(update.failure);
    } catch (const core::Error& error) {
      EXPECT_EQ(error.kind(), core::ErrorKind::kDeviceLost);
      EXPECT_NE(std::string(error.what()).find("the device was lost"), std::string::npos) << error.what();
    }
  }

  tests::TemporaryFolder folder_;
};

TEST_F(LostDevice, FailsTheRepliesInWorkAndIsOpenedAgainForTheNext) {
  Engine engine({{"tiny", folder_.path() / "tiny"}}, options());
  auto model = engine.load(0, [] {}).get();
  EXPECT_EQ(engine.device(0), "gpu:0");
  ASSERT_TRUE(reply(engine, model).reply);
  {
    const tests::ReplacedFunction replaced(VULKAN_HPP_DEFAULT_DISPATCHER.vkQueueSubmit, &lose);
    expect_lost(reply(engine, model));
  }
  for (int i = 0; i < 600 && engine.is_loaded(0); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(100));
  ASSERT_FALSE(engine.is_loaded(0));
  // Who still holds the old model is told so, and does not wait for ever.
  expect_lost(reply(engine, model));
  const auto again = engine.load(0, [] {}).get();
  EXPECT_NE(again, model);
  EXPECT_TRUE(reply(engine, again).reply);
}

}  // namespace
}  // namespace salient::serve
