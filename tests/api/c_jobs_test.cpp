#include <gtest/gtest.h>
#include <salient/salient.h>

#include <filesystem>
#include <salient/salient.hpp>
#include <string>
#include <vector>

#include "tests/support/chat_model.h"

namespace {

namespace fs = std::filesystem;
using nlohmann::json;

/// What a job told of itself, and after how many reports it is to end.
struct Watcher {
  std::vector<std::string> tasks;
  std::vector<std::string> messages;
  size_t most = 1000000;

  static int on_progress(void* context, const char* task, int64_t done, int64_t total, const char* unit) {
    auto* watcher = static_cast<Watcher*>(context);
    EXPECT_GE(done, 0);
    EXPECT_LE(done, total);
    EXPECT_STRNE(unit, "");
    watcher->tasks.push_back(task);
    return watcher->tasks.size() < watcher->most ? 0 : 1;
  }
  static void on_message(void* context, const char* message) {
    static_cast<Watcher*>(context)->messages.push_back(message);
  }
  SalientMonitor monitor() { return {on_progress, on_message, this}; }
};

class CJobsTest : public testing::Test {
 protected:
  CJobsTest() {
    salient::tests::write_chat_model(model_);
    salient::tests::write_text(text_, std::string(3000, 'a') + " and then, at last, something else");
  }
  /// Small enough for a test.
  json quantization() const {
    return {{"group_size", 32},
            {"calibration", text_.string()},
            {"calibration_sequences", 4},
            {"calibration_tokens", 64},
            {"threads", 2}};
  }
  json quantize(const fs::path& output, const SalientMonitor* monitor = nullptr) const {
    char* report = nullptr;
    EXPECT_EQ(SalientQuantize(model_.c_str(), output.c_str(), quantization().dump().c_str(), monitor, &report),
              SALIENT_OK)
        << SalientLastError();
    return take(report);
  }
  /// Frees a report of the library.
  static json take(char* report) {
    json result = json::parse(report);
    SalientFree(report);
    return result;
  }
  /// What is said of options that are refused.
  std::string refusal(const char* options) const {
    char* report = nullptr;
    EXPECT_EQ(SalientQuantize(model_.c_str(), (folder_.path() / "x").c_str(), options, nullptr, &report),
              SALIENT_INVALID_INPUT);
    EXPECT_EQ(report, nullptr);
    return SalientLastError();
  }

  salient::tests::TemporaryFolder folder_;
  const fs::path model_ = folder_.path() / "model";
  const fs::path text_ = folder_.path() / "text.txt";
};

TEST_F(CJobsTest, AModelIsQuantizedMeasuredAndExported) {
  Watcher watcher;
  const SalientMonitor monitor = watcher.monitor();
  const fs::path small = folder_.path() / "small";
  const json quantized = quantize(small, &monitor);
  EXPECT_EQ(quantized["group_size"], 32);
  EXPECT_EQ(quantized["method"], "awq+");
  EXPECT_EQ(quantized["layers"].size(), 2u);
  EXPECT_FALSE(watcher.tasks.empty());
  EXPECT_FALSE(watcher.messages.empty());

  const json options = {
      {"data", {text_.string()}}, {"base", model_.string()}, {"window", 128}, {"limit", 3}, {"threads", 2},
      {"kv_cache", "int8"}};
  char* report = nullptr;
  ASSERT_EQ(SalientMeasurePerplexity(small.c_str(), options.dump().c_str(), &monitor, &report), SALIENT_OK)
      << SalientLastError();
  const json measured = take(report);
  salient::PerplexityOptions same;
  same.data = {text_.string()};
  same.base = model_;
  same.window = 128;
  same.limit = 3;
  same.model = {.threads = 2, .kv_cache = "int8"};
  const auto expected = salient::measure_perplexity(small, same).results;
  ASSERT_EQ(measured.size(), 1u);
  EXPECT_EQ(measured[0]["perplexity"], expected[0].perplexity);
  EXPECT_EQ(measured[0]["kl_divergence"], expected[0].kl_divergence.value());
  EXPECT_GT(expected[0].kl_divergence.value(), 0);

  const fs::path onnx = folder_.path() / "onnx";
  ASSERT_EQ(SalientExport(small.c_str(), onnx.c_str(), R"({"format": "onnx", "limit": 0})", &monitor, &report),
            SALIENT_OK)
      << SalientLastError();
  EXPECT_EQ(take(report)["format"], "onnx");
  EXPECT_EQ(salient::Model(onnx).format(), "onnx");
}

TEST_F(CJobsTest, ACallbackEndsTheWorkAndNothingIsLeftUnderItsName) {
  Watcher watcher;
  watcher.most = 1;
  const SalientMonitor monitor = watcher.monitor();
  const fs::path output = folder_.path() / "small";
  char* report = nullptr;
  const std::string options = quantization().dump();
  EXPECT_EQ(SalientQuantize(model_.c_str(), output.c_str(), options.c_str(), &monitor, &report), SALIENT_CANCELLED);
  EXPECT_EQ(watcher.tasks.size(), 1u);
  EXPECT_EQ(report, nullptr);
  EXPECT_FALSE(fs::exists(output));

  watcher = {};
  watcher.most = 1;
  const std::string perplexity = json{{"data", {text_.string()}}, {"window", 64}, {"threads", 1}}.dump();
  EXPECT_EQ(SalientMeasurePerplexity(model_.c_str(), perplexity.c_str(), &monitor, &report), SALIENT_CANCELLED);
  EXPECT_EQ(watcher.tasks.size(), 1u);
}

TEST_F(CJobsTest, AnExportIsCancelledToo) {
  const fs::path small = folder_.path() / "small";
  quantize(small);
  for (const char* format : {"awq", "compressed-tensors", "gguf", "onnx"}) {
    Watcher watcher;
    watcher.most = 1;
    const SalientMonitor monitor = watcher.monitor();
    const fs::path output = folder_.path() / format;
    char* report = nullptr;
    const std::string options = json{{"format", format}}.dump();
    EXPECT_EQ(SalientExport(small.c_str(), output.c_str(), options.c_str(), &monitor, &report), SALIENT_CANCELLED)
        << format;
    EXPECT_EQ(watcher.tasks.size(), 1u) << format;
    EXPECT_FALSE(fs::exists(output)) << format;
  }
}

TEST_F(CJobsTest, OptionsThatMakeNoSenseAreRefusedByName) {
  EXPECT_EQ(refusal("{"), "options: expected the text of a JSON object");
  EXPECT_EQ(refusal("[]"), "options: expected the text of a JSON object");
  EXPECT_EQ(refusal(R"({"foo": 1})"),
            "options: there is no option \"foo\"; there are format, method, clip, group_size, symmetric, target_bytes, "
            "target_divergence, calibration, data_dir, calibration_sequences, calibration_tokens, seed, resume, "
            "dry_run, threads");
  EXPECT_EQ(refusal(R"({"target_divergence": "0.1"})"), "options: target_divergence is \"0.1\", expected a number");
  EXPECT_EQ(refusal(R"({"method": "gptq"})"), "method is \"gptq\", expected awq+, awq, rtn");
  EXPECT_EQ(refusal(R"({"method": 3})"), "options: method is 3, expected a text");
  EXPECT_EQ(refusal(R"({"clip": 1})"), "options: clip is 1, expected true or false");
  EXPECT_EQ(refusal(R"({"group_size": 32.5})"), "options: group_size is 32.5, expected a whole number");
  EXPECT_EQ(refusal(R"({"group_size": 3000000000})"), "options: group_size is 3000000000, expected a whole number");
  EXPECT_EQ(refusal(R"({"seed": -1})"), "options: seed is -1, expected a whole number of 0 or more");
  EXPECT_EQ(refusal(R"({"calibration_tokens": 18446744073709551615})"),
            "options: calibration_tokens is 18446744073709551615, expected a whole number");
  char* report = nullptr;
  EXPECT_EQ(SalientMeasurePerplexity(model_.c_str(), R"({"data": "x"})", nullptr, &report), SALIENT_INVALID_INPUT);
  EXPECT_STREQ(SalientLastError(), "options: data is \"x\", expected a list of texts");
  EXPECT_EQ(SalientMeasurePerplexity(model_.c_str(), R"({"data": [1]})", nullptr, &report), SALIENT_INVALID_INPUT);
  EXPECT_STREQ(SalientLastError(), "options: data is 1, expected a text");
  EXPECT_EQ(SalientExport(model_.c_str(), "x", R"({"accuracy_level": "4"})", nullptr, &report), SALIENT_INVALID_INPUT);
  EXPECT_STREQ(SalientLastError(), "options: accuracy_level is \"4\", expected a whole number");
  EXPECT_EQ(SalientPull("a/b", R"({"device": "tpu"})", nullptr, &report), SALIENT_INVALID_INPUT);
  EXPECT_STREQ(SalientLastError(), "device is \"tpu\", expected cpu, dml");
  EXPECT_EQ(SalientPull("a/b", R"({"base": "yes"})", nullptr, &report), SALIENT_INVALID_INPUT);
  EXPECT_STREQ(SalientLastError(), "options: base is \"yes\", expected true or false");
  EXPECT_EQ(report, nullptr);
}

TEST_F(CJobsTest, NullIsRefused) {
  char* report = nullptr;
  const char* model = model_.c_str();
  EXPECT_EQ(SalientQuantize(nullptr, "x", nullptr, nullptr, &report), SALIENT_INVALID_INPUT);
  EXPECT_STREQ(SalientLastError(), "model is null");
  EXPECT_EQ(SalientQuantize(model, nullptr, nullptr, nullptr, &report), SALIENT_INVALID_INPUT);
  EXPECT_STREQ(SalientLastError(), "output is null");
  EXPECT_EQ(SalientQuantize(model, "x", nullptr, nullptr, nullptr), SALIENT_INVALID_INPUT);
  EXPECT_STREQ(SalientLastError(), "report is null");
  EXPECT_EQ(SalientMeasurePerplexity(nullptr, nullptr, nullptr, &report), SALIENT_INVALID_INPUT);
  EXPECT_EQ(SalientMeasurePerplexity(model, nullptr, nullptr, nullptr), SALIENT_INVALID_INPUT);
  EXPECT_EQ(SalientExport(nullptr, "x", nullptr, nullptr, &report), SALIENT_INVALID_INPUT);
  EXPECT_EQ(SalientExport(model, nullptr, nullptr, nullptr, &report), SALIENT_INVALID_INPUT);
  EXPECT_EQ(SalientExport(model, "x", nullptr, nullptr, nullptr), SALIENT_INVALID_INPUT);
  EXPECT_EQ(SalientPull(nullptr, nullptr, nullptr, &report), SALIENT_INVALID_INPUT);
  EXPECT_EQ(SalientPull("a/b", nullptr, nullptr, nullptr), SALIENT_INVALID_INPUT);
  EXPECT_STREQ(SalientLastError(), "path is null");
  EXPECT_FALSE(fs::exists("x"));
}

}  // namespace
