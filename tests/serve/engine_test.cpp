#include "serve/engine.h"

#include <gtest/gtest.h>

#include <chrono>
#include <fstream>
#include <future>

#include "core/error.h"
#include "tests/support/tiny_model.h"
#include "tests/support/tiny_tokenizer.h"

namespace salient::serve {
namespace {

using namespace std::chrono_literals;

/// An engine with three models, of which the loading can be held up.
class EngineTest : public testing::Test {
 protected:
  EngineTest() {
    std::vector<ModelEntry> entries;
    for (const char* name : {"first", "second", "third"}) {
      const auto path = folder_.path() / name;
      tests::write_tiny_model(path, {.vocab_size = 320, .tied = false});
      std::ofstream(path / "tokenizer.json") << tests::byte_level_tokenizer();
      entries.push_back({name, path});
    }
    EngineOptions options;
    options.threads = 1;
    options.model.kv_bytes = 16 << 20;
    options.model.runner.progress = [this](const core::Progress&) {
      std::unique_lock lock(mutex_);
      is_loading_ = true;
      changed_.notify_all();
      changed_.wait(lock, [this] { return may_load_; });
    };
    engine_.emplace(std::move(entries), options);
  }
  ~EngineTest() override { let_load(true); }

  void let_load(bool may) {
    const std::lock_guard lock(mutex_);
    may_load_ = may;
    is_loading_ = false;
    changed_.notify_all();
  }
  void wait_until_loading() {
    std::unique_lock lock(mutex_);
    ASSERT_TRUE(changed_.wait_for(lock, 60s, [this] { return is_loading_; }));
  }
  Engine& engine() { return *engine_; }
  /// A reply of a model, when it is there.
  std::future<generate::Reply> reply(const std::shared_ptr<ServedModel>& model) {
    auto promise = std::make_shared<std::promise<generate::Reply>>();
    generate::ReplyRequest request;
    request.prompt = {'O', 'n', 'c', 'e'};
    request.max_tokens = 5;
    request.on_update = [promise](const generate::ReplyUpdate& update) {
      if (update.reply) promise->set_value(*update.reply);
    };
    std::vector<generate::ReplyRequest> requests;
    requests.push_back(std::move(request));
    engine().submit(model, std::move(requests));
    return promise->get_future();
  }

  tests::TemporaryFolder folder_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool may_load_ = true;
  bool is_loading_ = false;
  std::optional<Engine> engine_;
};

TEST_F(EngineTest, OthersGoOnWhileAModelIsLoaded) {
  const auto first = engine().load(0, [] {}).get();
  let_load(false);
  std::promise<void> is_ready;
  const Engine::Loading second = engine().load(1, [&] { is_ready.set_value(); });
  wait_until_loading();
  EXPECT_TRUE(engine().is_loading(1));
  std::future<generate::Reply> answer = reply(first);
  ASSERT_EQ(answer.wait_for(60s), std::future_status::ready);
  EXPECT_EQ(answer.get().ids.size(), 5u);
  EXPECT_NE(second.wait_for(0s), std::future_status::ready);
  let_load(true);
  ASSERT_EQ(is_ready.get_future().wait_for(60s), std::future_status::ready);
  EXPECT_EQ(reply(second.get()).get().ids.size(), 5u);
  EXPECT_TRUE(engine().is_loaded(1));
}

TEST_F(EngineTest, ModelsAreLoadedOneAfterTheOtherAndMakeRoom) {
  std::vector<Engine::Loading> loading;
  for (size_t i = 0; i < 3; ++i) loading.push_back(engine().load(i, [] {}));
  for (const Engine::Loading& one : loading) EXPECT_NE(one.get(), nullptr);
  EXPECT_FALSE(engine().is_loaded(0));
  EXPECT_FALSE(engine().is_loaded(1));
  EXPECT_TRUE(engine().is_loaded(2));
}

TEST_F(EngineTest, AModelThatMadeRoomBeforeItWasAskedAnswersAllTheSame) {
  const Engine::Loading first = engine().load(0, [] {});
  first.wait();
  engine().load(1, [] {}).wait();
  EXPECT_FALSE(engine().is_loaded(0));
  std::future<generate::Reply> answer = reply(first.get());
  ASSERT_EQ(answer.wait_for(60s), std::future_status::ready);
  EXPECT_EQ(answer.get().ids.size(), 5u);
}

TEST_F(EngineTest, AModelThatCannotBeLoadedIsInNobodysWay) {
  std::filesystem::remove_all(folder_.path() / "first");
  const Engine::Loading first = engine().load(0, [] {});
  const Engine::Loading second = engine().load(1, [] {});
  EXPECT_THROW(first.get(), core::Error);
  EXPECT_NE(second.get(), nullptr);
}

}  // namespace
}  // namespace salient::serve
