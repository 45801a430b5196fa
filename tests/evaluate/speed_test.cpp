#include "evaluate/speed.h"

#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>

#include "evaluate/speed_report.h"
#include "model/synthetic.h"
#include "runner/cpu_runner.h"
#include "tests/support/expect_error.h"

namespace salient::evaluate {
namespace {

/// A synthetic model of 2 layers with a vocabulary of 300.
class SmallSynthetic {
 public:
  explicit SmallSynthetic(const std::string& name, int64_t window = 0) {
    nlohmann::json config = model::synthetic_config(name);
    config.update({{"hidden_size", 256},
                   {"intermediate_size", 384},
                   {"num_hidden_layers", 2},
                   {"num_attention_heads", 16},
                   {"num_key_value_heads", 4},
                   {"vocab_size", 300},
                   {"max_position_embeddings", 256}});
    if (window > 0) config["sliding_window"] = window;
    auto checkpoint = std::make_shared<checkpoint::Checkpoint>(model::make_synthetic("small", config));
    runner_ = std::make_unique<runner::CpuRunner>(std::make_shared<model::Decoder>(std::move(checkpoint)), pool_);
  }
  runner::CpuRunner& operator*() { return *runner_; }
  runner::CpuRunner* operator->() { return runner_.get(); }

 private:
  core::ThreadPool pool_{2};
  std::unique_ptr<runner::CpuRunner> runner_;
};

constexpr SpeedOptions kShort = {.prompt_tokens = 8, .generate_tokens = 3, .depth = 70, .repetitions = 2};
constexpr int64_t kSweepBytes = 1 << 20;

SpeedMeasurement measure(runner::CpuRunner& runner, const SpeedOptions& options, std::stop_token stop = {}) {
  BandwidthProbe memory(runner.pool(), kSweepBytes);
  return measure_speed(runner, memory, options, {}, std::move(stop));
}

/// Keys and values of 2 layers with 4 heads of 16 numbers in fp16.
constexpr int64_t kTokenCacheBytes = 2 * 2 * 4 * 16 * 2;

TEST(SyntheticModel, GivesLogitsNearOneThatDependOnTheText) {
  for (const std::string name : {"phi-3-mini", "mistral-7b"}) {
    SmallSynthetic runner(name);
    std::vector<int32_t> tokens(100);
    for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<int32_t>(i * 7 % 300);
    runner::Sequence sequence = runner->new_sequence();
    const runner::TokenRun run{tokens, &sequence, runner::Wanted::kAllLogits};
    const std::vector<float> logits = runner->forward(std::span(&run, 1));
    double squares = 0;
    for (const float logit : logits) {
      ASSERT_TRUE(std::isfinite(logit));
      squares += double{logit} * logit;
    }
    const double size = std::sqrt(squares / static_cast<double>(logits.size()));
    EXPECT_GT(size, 0.3) << name;
    EXPECT_LT(size, 3) << name;
    EXPECT_FALSE(std::equal(logits.begin(), logits.begin() + 300, logits.end() - 300)) << name;
  }
}

TEST(MeasureSpeed, TimesEveryTestInEveryRepetition) {
  SmallSynthetic runner("phi-3-mini");
  const SpeedMeasurement found = measure(*runner, kShort);
  ASSERT_EQ(found.tests.size(), 3u);
  EXPECT_EQ(found.tests[0].name, "pp8");
  EXPECT_EQ(found.tests[1].name, "tg3");
  EXPECT_EQ(found.tests[2].name, "tg3 @ d70");
  for (const SpeedTest& test : found.tests) {
    EXPECT_EQ(test.tokens_per_second.size(), 2u);
    for (const double speed : test.tokens_per_second) EXPECT_GT(speed, 0);
    EXPECT_EQ(test.bandwidth_before.size(), test.prefill ? 0u : 2u);
    EXPECT_EQ(test.bandwidth_after.size(), test.bandwidth_before.size());
  }
  EXPECT_GE(found.bandwidth.bytes, kSweepBytes);
  EXPECT_GT(found.bandwidth.sweeps.size(), 2u);
}

TEST(MeasureSpeed, CountsTheBytesThatOneTokenReads) {
  SmallSynthetic runner("phi-3-mini");
  // 4-bit codes, an fp16 scale and a zero point of a byte for each group of 128; two fp32 norms a layer; the head in
  // fp16 and tiles of 16 rows.
  const int64_t linears = 2 * (256 * 384 + 256 * 256 + 256 * 768 + 384 * 256);
  const int64_t norms = 2 * 2 * 256;
  EXPECT_EQ(runner->bytes_per_token(), linears / 2 + linears / 128 * 3 + norms * 4 + 304 * 256 * 2);
  const SpeedMeasurement found = measure(*runner, kShort);
  const auto weights = static_cast<double>(runner->bytes_per_token());
  EXPECT_EQ(found.tests[0].bytes_per_token, 0);
  EXPECT_EQ(found.tests[1].bytes_per_token, weights + 2 * kTokenCacheBytes);   // tokens 1, 2 and 3
  EXPECT_EQ(found.tests[2].bytes_per_token, weights + 72 * kTokenCacheBytes);  // tokens 71, 72 and 73
}

TEST(MeasureSpeed, CountsOnlyTheKeysThatAWindowShows) {
  SmallSynthetic runner("mistral-7b", 32);
  EXPECT_EQ(runner->cache_bytes_per_token(31), 31 * kTokenCacheBytes);
  EXPECT_EQ(runner->cache_bytes_per_token(100), 32 * kTokenCacheBytes);
}

TEST(MeasureSpeed, LeavesOutWhatHasNoTokens) {
  SmallSynthetic runner("phi-3-mini");
  SpeedOptions options = kShort;
  options.generate_tokens = 0;
  EXPECT_EQ(measure(*runner, options).tests.size(), 1u);
  options = kShort;
  options.prompt_tokens = options.depth = 0;
  const auto found = measure(*runner, options);
  ASSERT_EQ(found.tests.size(), 1u);
  EXPECT_EQ(found.tests[0].name, "tg3");
}

TEST(MeasureSpeed, RefusesWhatTheContextCannotHoldAndNothing) {
  SmallSynthetic runner("phi-3-mini");
  SpeedOptions options = kShort;
  options.depth = 254;
  tests::expect_error(core::ErrorKind::kInvalidInput, {"small", "256", "257"}, [&] { measure(*runner, options); });
  options.prompt_tokens = options.generate_tokens = 0;
  tests::expect_error(core::ErrorKind::kInvalidInput, {"nothing"}, [&] { measure(*runner, options); });
}

TEST(MeasureSpeed, StopsWhenAskedTo) {
  SmallSynthetic runner("phi-3-mini");
  std::stop_source source;
  source.request_stop();
  tests::expect_error(core::ErrorKind::kCancelled, {"interrupted"},
                      [&] { measure(*runner, kShort, source.get_token()); });
}

/// 2 GB a token at 10 tokens a second on average, where memory gives 50 GB/s at best.
SpeedReport made_up_report() {
  SpeedReport report;
  report.model = "model";
  report.format = "synthetic";
  report.arithmetic = "int4";
  report.cpu = "a CPU";
  report.kernels = "scalar";
  report.device_description = "scalar kernels, 2 threads";
  report.threads = 2;
  report.weight_bytes = int64_t{3} << 29;
  report.measurement.tests = {{"pp512", true, 512, 0, 0, {60, 80}},
                              {"tg128", false, 128, 0, 2e9, {9, 10, 11}, {40, 30, 50}, {36, 40, 50}}};
  report.measurement.bandwidth = {int64_t{1} << 30, "by a test", {40, 50, 45}};
  return report;
}

TEST(SpeedReport, SaysWhatShareOfTheBandwidthDecodingUses) {
  const nlohmann::json json = to_json(made_up_report());
  ASSERT_EQ(json.size(), 2u);
  EXPECT_EQ(json[0]["test"], "pp512");
  EXPECT_EQ(json[0]["device"], "cpu");
  EXPECT_EQ(json[0]["tokens_per_second"], 70);
  EXPECT_FALSE(json[0].contains("bandwidth_percent"));
  EXPECT_EQ(json[1]["tokens_per_second"], 10);
  EXPECT_EQ(json[1]["deviation"], 1);
  EXPECT_EQ(json[1]["gigabytes_per_second"], 20);
  EXPECT_DOUBLE_EQ(json[1]["bandwidth_percent"], 45);  // the median of 18 of 40, 20 of 40 and 22 of 50
  EXPECT_EQ(json[1]["words_per_second"], 7.5);
  EXPECT_EQ(json[1]["bandwidth_best"], 50);
  EXPECT_EQ(json[1]["bandwidth_median"], 45);
}

TEST(SpeedReport, IsATableWithWhatItRestsOnBelow) {
  const std::string table = format_speed(made_up_report());
  EXPECT_NE(table.find("| pp512 | 70.00 ± 14.14 |"), std::string::npos) << table;
  EXPECT_NE(table.find("| tg128 | 10.00 ± 1.00  | 2000.0        | 20.0 | 45 %         | 7.5     |"), std::string::npos)
      << table;
  for (const char* part : {"a CPU; scalar kernels", "50.0 GB/s", "3 sweeps over 1.00 GiB", "median 45.0), by a test",
                           "0.75 words a token, which is assumed", "a reader takes in 5 a second"}) {
    EXPECT_NE(table.find(part), std::string::npos) << part << " is not in\n" << table;
  }
}

}  // namespace
}  // namespace salient::evaluate
