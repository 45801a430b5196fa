#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>

#include "kernels/kernels.h"
#include "runner/cpu_runner.h"
#include "tests/support/tiny_model.h"

namespace salient::runner {
namespace {

/// SmolLM2-135M-Instruct in bf16, the folder that SALIENT_TEST_SMOLLM2 names, against logits of transformers in fp32.
/// The fast path, as users run it: keys and values in fp16.
class SmolLm2Goldens : public testing::Test {
 protected:
  void SetUp() override {
    const char* folder = std::getenv("SALIENT_TEST_SMOLLM2");
    const auto goldens = tests::shared_data() / "smollm2" / "logits.json";
    if (!folder || !std::filesystem::exists(goldens)) GTEST_SKIP() << "SALIENT_TEST_SMOLLM2 or the goldens are absent";
    prompts_ = tests::read_json(goldens)["prompts"];
    auto checkpoint = std::make_shared<checkpoint::Checkpoint>(checkpoint::open_checkpoint(folder));
    runner_ = std::make_unique<CpuRunner>(std::make_shared<model::Decoder>(std::move(checkpoint)), pool_);
  }

  nlohmann::json prompts_;
  core::ThreadPool pool_;
  std::unique_ptr<CpuRunner> runner_;
};

TEST_F(SmolLm2Goldens, LogProbabilitiesAreWithinTwoHundredths) {
  const int64_t vocab = runner_->spec().vocab_size;
  const kernels::KernelSet& kernels = kernels::active_kernels();
  for (const auto& prompt : prompts_) {
    const auto ids = prompt["ids"].get<std::vector<int32_t>>();
    Sequence sequence = runner_->new_sequence();
    const TokenRun run{ids, &sequence, Wanted::kAllLogits};
    const auto logits = runner_->forward(std::span(&run, 1));
    double largest = 0;
    for (const auto& position : prompt["positions"]) {
      const float* row = &logits[position["pos"].get<int64_t>() * vocab];
      const double log_sum = std::log(kernels.sum_exp(row, vocab, 0));
      const auto top = position["top5_ids"].get<std::vector<int64_t>>();
      const auto top_logits = position["top5_logits"].get<std::vector<double>>();
      for (size_t i = 0; i < top.size(); ++i) {
        const double expected = top_logits[i] - position["logsumexp"].get<double>();
        largest = std::max(largest, std::abs(row[top[i]] - log_sum - expected));
      }
      if (top_logits[0] - top_logits[1] > 0.01) {
        EXPECT_EQ(std::max_element(row, row + vocab) - row, top[0]) << prompt["name"] << " at " << position["pos"];
      }
    }
    EXPECT_LE(largest, 0.02) << prompt["name"];
    RecordProperty(prompt["name"].get<std::string>(), std::to_string(largest));
  }
}

TEST_F(SmolLm2Goldens, GreedyTokensAreTheReferences) {
  for (const auto& prompt : prompts_) {
    const auto ids = prompt["ids"].get<std::vector<int32_t>>();
    const auto greedy = prompt["greedy48"].get<std::vector<int32_t>>();
    Sequence sequence = runner_->new_sequence();
    TokenRun run{ids, &sequence};
    std::vector<int32_t> ours;
    for (size_t step = 0; step < greedy.size(); ++step) {
      const auto logits = runner_->forward(std::span(&run, 1));
      ours.push_back(static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin()));
      run.tokens = std::span(&ours.back(), 1);
    }
    EXPECT_EQ(ours, greedy) << prompt["name"];
  }
}

}  // namespace
}  // namespace salient::runner
