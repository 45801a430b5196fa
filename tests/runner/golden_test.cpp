#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "checkpoint/safetensors.h"
#include "runner/cpu_runner.h"
#include "tests/support/tiny_model.h"

namespace salient::runner {
namespace {

/// A folder of tests/golden, or one of the larger models beside the project.
struct GoldenModel {
  bool shared;
  const char* name;
};

void PrintTo(const GoldenModel& model, std::ostream* stream) {
  *stream << model.name;
}

/// Tiny models whose logits transformers computed in fp32.
class Goldens : public testing::TestWithParam<GoldenModel> {
 protected:
  void SetUp() override {
    const std::filesystem::path own = std::filesystem::path(SALIENT_SOURCE_DIR) / "tests" / "golden";
    folder_ = (GetParam().shared ? tests::shared_data() / "tiny" : own) / GetParam().name;
    if (!std::filesystem::exists(folder_)) GTEST_SKIP() << folder_ << " is not here";
    goldens_ = tests::read_json(folder_ / "goldens.json");
    checkpoint::add_safetensors_file(folder_ / "goldens.safetensors", tensors_);
    auto checkpoint = std::make_shared<checkpoint::Checkpoint>(checkpoint::open_checkpoint(folder_));
    decoder_ = std::make_shared<model::Decoder>(std::move(checkpoint));
    runner_ = std::make_unique<CpuRunner>(
        decoder_, pool_, CpuRunnerOptions{.activations = Activations::kFp32, .kv_dtype = core::DType::kF32});
  }
  std::vector<float> floats(const std::string& name) const {
    const auto bytes = tensors_.at(name).view.bytes;
    std::vector<float> values(bytes.size() / sizeof(float));
    std::memcpy(values.data(), bytes.data(), bytes.size());
    return values;
  }

  std::filesystem::path folder_;
  nlohmann::json goldens_;
  std::map<std::string, checkpoint::StoredTensor> tensors_;
  core::ThreadPool pool_{2};
  std::shared_ptr<model::Decoder> decoder_;
  std::unique_ptr<CpuRunner> runner_;
};

std::string identifier(const testing::TestParamInfo<GoldenModel>& model) {
  std::string name = model.param.name;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(Own, Goldens,
                         testing::Values(GoldenModel{false, "linear"}, GoldenModel{false, "llama32"},
                                         GoldenModel{false, "phi4-mini"}, GoldenModel{false, "smollm3"},
                                         GoldenModel{false, "yarn"}),
                         identifier);
INSTANTIATE_TEST_SUITE_P(Shared, Goldens,
                         testing::Values(GoldenModel{true, "gemma2"}, GoldenModel{true, "gemma3"},
                                         GoldenModel{true, "llama-tied"}, GoldenModel{true, "llama-untied-sharded"},
                                         GoldenModel{true, "llama3-rope"}, GoldenModel{true, "mistral-nemo"},
                                         GoldenModel{true, "mistral-swa"}, GoldenModel{true, "mistral-v02"},
                                         GoldenModel{true, "phi2"}, GoldenModel{true, "phi3-128k"},
                                         GoldenModel{true, "phi3-128k-su"}, GoldenModel{true, "phi3-4k"},
                                         GoldenModel{true, "phi3-hd96"}, GoldenModel{true, "phi3-medium"},
                                         GoldenModel{true, "phi3-medium-128k"}, GoldenModel{true, "qwen2"},
                                         GoldenModel{true, "qwen3"}),
                         identifier);

TEST_P(Goldens, LogitsAreTheReferences) {
  for (const auto& prompt : goldens_["prompts"]) {
    const auto ids = prompt["ids"].get<std::vector<int32_t>>();
    Sequence sequence = runner_->new_sequence();
    const TokenRun run{ids, &sequence, Wanted::kAllLogits};
    const auto logits = runner_->forward(std::span(&run, 1));
    const auto expected = floats("logits_len" + std::to_string(ids.size()));
    ASSERT_EQ(logits.size(), expected.size());
    float largest = 0;
    for (size_t i = 0; i < logits.size(); ++i) largest = std::max(largest, std::fabs(logits[i] - expected[i]));
    EXPECT_LE(largest, 2e-3f) << "prompt of " << ids.size() << " tokens";
  }
}

TEST_P(Goldens, Int8KeysAndValuesMoveLogitsLittle) {
  CpuRunner runner(decoder_, pool_, {.activations = Activations::kFp32, .kv_dtype = core::DType::kI8});
  for (const auto& prompt : goldens_["prompts"]) {
    const auto ids = prompt["ids"].get<std::vector<int32_t>>();
    Sequence sequence = runner.new_sequence();
    const TokenRun run{ids, &sequence, Wanted::kAllLogits};
    const auto logits = runner.forward(std::span(&run, 1));
    const auto expected = floats("logits_len" + std::to_string(ids.size()));
    ASSERT_EQ(logits.size(), expected.size());
    double error = 0;
    double scale = 0;
    for (size_t i = 0; i < logits.size(); ++i) {
      error += std::pow(logits[i] - expected[i], 2);
      scale += std::pow(expected[i], 2);
    }
    // A number moves by up to 1/254 of its vector's largest, about a hundredth of the vector in every layer. A wrong
    // scale or key moves logits by as much as they are.
    EXPECT_LE(std::sqrt(error / scale), 0.1) << "prompt of " << ids.size() << " tokens";
  }
}

TEST_P(Goldens, GreedyTokensAreTheReferences) {
  for (const auto& prompt : goldens_["prompts"]) {
    const auto ids = prompt["ids"].get<std::vector<int32_t>>();
    const auto greedy = prompt["greedy32"].get<std::vector<int32_t>>();
    Sequence sequence = runner_->new_sequence();
    TokenRun run{ids, &sequence};
    for (size_t step = 0; step < greedy.size(); ++step) {
      const auto logits = runner_->forward(std::span(&run, 1));
      const auto best = std::max_element(logits.begin(), logits.end());
      if (best - logits.begin() != greedy[step]) {
        // The goldens' own bound: below a margin of 0.01 the choice is rounding.
        EXPECT_LT(*best - logits[greedy[step]], 0.01f) << "prompt of " << ids.size() << ", step " << step;
      }
      run.tokens = std::span(&greedy[step], 1);
    }
  }
}

}  // namespace
}  // namespace salient::runner
