#include "serve/completion_exchange.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <fstream>
#include <memory>
#include <mutex>
#include <optional>
#include <sstream>

#include "core/error.h"
#include "generate/generator.h"
#include "serve/failure.h"
#include "tests/support/tiny_model.h"
#include "tests/support/tiny_tokenizer.h"

namespace salient::serve {
namespace {

using nlohmann::json;

class CompletionExchangeTest : public testing::Test {
 protected:
  CompletionExchangeTest() {
    tests::write_tiny_model(model_path(), {.vocab_size = 320, .tied = false});
    std::ofstream(model_path() / "tokenizer.json") << tests::byte_level_tokenizer();
  }
  std::filesystem::path model_path() const { return folder_.path() / "tiny"; }
  Engine& engine() {
    if (!engine_) {
      EngineOptions options;
      options.threads = 1;
      options.most_open = 4;
      options.model.kv_bytes = 16 << 20;
      engine_.emplace(std::vector<ModelEntry>{{"tiny", model_path()}}, options);
    }
    return *engine_;
  }
  static CompletionRequest request(json fields = json::object()) {
    fields["prompt"] = fields.value("prompt", json("Once"));
    fields["temperature"] = 0;
    return read_text_request(fields, {});
  }
  struct News {
    std::mutex mutex;
    std::condition_variable changed;
    bool is_here = true;
  };
  /// All parts of an answer, as a connection would ask for them.
  Exchange::Part run(CompletionRequest asked) {
    CompletionExchange exchange(engine(), 0, std::move(asked), "me");
    const auto news = std::make_shared<News>();
    exchange.on_news([news] {
      const std::lock_guard lock(news->mutex);
      news->is_here = true;
      news->changed.notify_all();
    });
    std::string events;
    for (;;) {
      {
        std::unique_lock lock(news->mutex);
        news->changed.wait(lock, [&] { return news->is_here; });
        news->is_here = false;
      }
      Exchange::Part part = exchange.next();
      if (auto* text = std::get_if<std::string>(&part.content)) events += *text;
      if (!part.last) continue;
      if (std::holds_alternative<std::string>(part.content)) part.content = events;
      return part;
    }
  }
  json whole(const json& fields) { return json::parse(std::get<HttpAnswer>(run(request(fields)).content).body); }

  tests::TemporaryFolder folder_;
  std::optional<Engine> engine_;
};

TEST_F(CompletionExchangeTest, IsWhatAGeneratorWrites) {
  const json answer = whole({{"max_tokens", 10}});
  const auto model = engine().load(0, [] {}).get();
  generate::Generator generator(model->runner, model->tokenizer, {.sampling = {.temperature = 0}, .max_tokens = 10});
  const generate::Reply alone = generator.reply(std::vector<int32_t>{'O', 'n', 'c', 'e'}, {});
  EXPECT_EQ(answer["choices"][0]["text"], alone.text);
  EXPECT_EQ(answer["usage"]["prompt_tokens"], 4);
  EXPECT_EQ(answer["object"], "text_completion");
}

TEST_F(CompletionExchangeTest, AStreamHasAllOfIt) {
  const json answer = whole({{"max_tokens", 10}, {"n", 2}, {"logprobs", 1}, {"echo", true}});
  const auto events = std::get<std::string>(
      run(request({{"max_tokens", 10}, {"n", 2}, {"logprobs", 1}, {"echo", true}, {"stream", true}})).content);
  std::vector<std::string> texts(2);
  std::vector<json> tokens(2, json::array());
  std::istringstream lines(events);
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("data: {")) continue;
    const json chunk = json::parse(line.substr(6));
    for (const json& choice : chunk["choices"]) {
      const size_t index = choice["index"];
      texts[index] += choice["text"];
      if (choice["logprobs"].is_null()) continue;
      for (const json& token : choice["logprobs"]["tokens"]) tokens[index].push_back(token);
    }
  }
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(texts[i], answer["choices"][i]["text"]);
    EXPECT_EQ(tokens[i], answer["choices"][i]["logprobs"]["tokens"]);
    EXPECT_EQ(tokens[i].size(), 14u);
  }
  EXPECT_TRUE(events.ends_with("data: [DONE]\n\n"));
}

TEST_F(CompletionExchangeTest, AModelWithoutTemplateIsNoChatModel) {
  CompletionRequest asked = request();
  asked.messages = {{"user", "hi"}};
  EXPECT_THROW(run(asked), Refusal);
}

TEST_F(CompletionExchangeTest, RefusesMoreThanMayWait) {
  try {
    run(request({{"n", 5}}));
    FAIL();
  } catch (const Refusal& refusal) {
    EXPECT_EQ(refusal.status(), 429);
  }
  EXPECT_EQ(engine().open_replies(), 0) << "none of them was started";
  EXPECT_EQ(whole({{"n", 4}, {"max_tokens", 1}})["choices"].size(), 4u);
}

TEST_F(CompletionExchangeTest, TakesNothingNewWhileShuttingDown) {
  engine().drain();
  try {
    run(request());
    FAIL();
  } catch (const Refusal& refusal) {
    EXPECT_EQ(refusal.status(), 503);
  }
}

TEST_F(CompletionExchangeTest, AModelThatCannotBeLoadedIsTriedAgain) {
  std::filesystem::rename(model_path(), folder_.path() / "elsewhere");
  EXPECT_THROW(run(request()), core::Error);
  std::filesystem::rename(folder_.path() / "elsewhere", model_path());
  EXPECT_EQ(whole({{"max_tokens", 1}})["choices"].size(), 1u);
}

}  // namespace
}  // namespace salient::serve
