#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <salient/salient.hpp>

#include "tests/support/archive_bytes.h"
#include "tests/support/chat_model.h"
#include "tests/support/http_server.h"

namespace salient {
namespace {

class ApiJobsTest : public testing::Test {
 protected:
  ApiJobsTest() {
    tests::write_chat_model(folder_.path() / "model");
    tests::write_text(folder_.path() / "text.txt", std::string(3000, 'a') + " and then, at last, something else");
  }
  Monitor watch() {
    return {[this](const Progress& progress) { tasks_.push_back(std::string(progress.task)); },
            [this](std::string_view message) { messages_.push_back(std::string(message)); }, stop_.get_token()};
  }
  QuantizeOptions small_quantization() const {
    QuantizeOptions options;
    options.output = folder_.path() / "small";
    options.group_size = 32;
    options.calibration = (folder_.path() / "text.txt").string();
    options.calibration_sequences = 4;
    options.calibration_tokens = 64;
    options.threads = 2;
    return options;
  }

  tests::TemporaryFolder folder_;
  std::stop_source stop_;
  std::vector<std::string> tasks_;
  std::vector<std::string> messages_;
};

TEST_F(ApiJobsTest, AModelIsQuantizedMeasuredAndExported) {
  const Report report = quantize_model(folder_.path() / "model", small_quantization(), watch());
  const auto json = nlohmann::json::parse(report.json);
  EXPECT_EQ(json["group_size"], 32);
  EXPECT_EQ(json["layers"].size(), 2u);
  EXPECT_NE(report.text.find("int4 awq+ in groups of 32"), std::string::npos);
  EXPECT_FALSE(tasks_.empty());
  EXPECT_FALSE(messages_.empty());

  PerplexityOptions options;
  options.data = {(folder_.path() / "text.txt").string()};
  options.base = folder_.path() / "model";
  options.window = 128;
  options.limit = 3;
  options.model.threads = 2;
  const PerplexityReport measured = measure_perplexity(folder_.path() / "small", options, watch());
  ASSERT_EQ(measured.results.size(), 1u);
  const PerplexityResult& result = measured.results[0];
  EXPECT_GT(result.perplexity, 1);
  EXPECT_TRUE(std::isfinite(result.standard_error));
  EXPECT_GT(result.kl_divergence.value(), 0);
  EXPECT_NE(result.base_perplexity.value(), result.perplexity);
  EXPECT_EQ(nlohmann::json::parse(measured.json)[0]["perplexity"], result.perplexity);

  ExportOptions onnx;
  onnx.format = "onnx";
  onnx.output = folder_.path() / "onnx";
  onnx.limit = 0;
  const auto exported = nlohmann::json::parse(export_model(folder_.path() / "small", onnx, watch()).json);
  EXPECT_EQ(exported["changes"].size(), 0u);
  EXPECT_EQ(Model(folder_.path() / "onnx").format(), "onnx");
  EXPECT_EQ(nlohmann::json::parse(inspect_model(folder_.path() / "onnx"))["group_size"], 32);
}

TEST_F(ApiJobsTest, ACalibrationSetIsDownloadedByItsName) {
  for (const char* name : {"http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"}) ::unsetenv(name);
  const tests::HttpServer server({tests::http_answer("200 OK", tests::snappy_parquet_bytes())});
  ::setenv("HF_ENDPOINT", server.endpoint().c_str(), 1);
  ::setenv("SALIENT_CACHE", (folder_.path() / "cache").c_str(), 1);
  ::setenv("HF_HOME", (folder_.path() / "cache").c_str(), 1);  // where no token is
  QuantizeOptions options = small_quantization();
  options.calibration = "pile-10k";
  quantize_model(folder_.path() / "model", options, watch());
  for (const char* name : {"HF_ENDPOINT", "SALIENT_CACHE", "HF_HOME"}) ::unsetenv(name);
  // Two rows of 11 and one of 12 bytes, each with its newline and the one before the line that ends it.
  EXPECT_NE(std::find_if(messages_.begin(), messages_.end(),
                         [](const std::string& message) {
                           return message.starts_with("calibration: 40 tokens, 3 documents or parts of them out of 3");
                         }),
            messages_.end());
}

TEST_F(ApiJobsTest, AreCancelled) {
  stop_.request_stop();
  try {
    quantize_model(folder_.path() / "model", small_quantization(), watch());
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kCancelled);
  }
  EXPECT_FALSE(std::filesystem::exists(folder_.path() / "small"));
}

TEST_F(ApiJobsTest, RefuseWordsTheyDoNotKnow) {
  const auto sentence = [](const std::function<void()>& body) -> std::string {
    try {
      body();
    } catch (const Error& error) {
      return error.what();
    }
    return "nothing was thrown";
  };
  const auto model = folder_.path() / "model";
  QuantizeOptions quantization = small_quantization();
  quantization.method = "gptq";
  EXPECT_EQ(sentence([&] { quantize_model(model, quantization); }), "method is \"gptq\", expected awq+, awq, rtn");
  quantization = small_quantization();
  quantization.format = "gguf";
  EXPECT_EQ(sentence([&] { quantize_model(model, quantization); }),
            "format is \"gguf\", expected awq, compressed-tensors");
  ExportOptions exported;
  exported.output = folder_.path() / "x";
  exported.format = "zip";
  EXPECT_EQ(sentence([&] { export_model(model, exported); }),
            "format is \"zip\", expected awq, compressed-tensors, gguf, onnx");
  EXPECT_EQ(sentence([&] { pull_model("a/b", {.device = "tpu"}); }), "device is \"tpu\", expected cpu, dml");
}

TEST_F(ApiJobsTest, SpeedIsMeasured) {
  SpeedOptions options;
  options.prompt_tokens = 8;
  options.generate_tokens = 4;
  options.depth = 0;
  options.repetitions = 1;
  const auto report = nlohmann::json::parse(measure_speed(folder_.path() / "model", options, watch()).json);
  EXPECT_EQ(report.size(), 2u);
  EXPECT_GT(report[0]["tokens_per_second"].get<double>(), 0);
}

TEST(Version, IsThatOfTheBuild) {
  EXPECT_EQ(version(), "0.1.0");
  EXPECT_FALSE(build_commit().empty());
  const auto kernels = kernel_names();
  EXPECT_EQ(kernels.back(), "scalar");
  EXPECT_NE(std::find(kernels.begin(), kernels.end(), active_kernel_name()), kernels.end());
}

}  // namespace
}  // namespace salient
