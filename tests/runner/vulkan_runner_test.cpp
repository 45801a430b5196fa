#include "runner/vulkan/vulkan_runner.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "runner/cpu_runner.h"
#include "tests/support/expect_error.h"
#include "tests/support/tiny_model.h"
#include "tests/support/tiny_quantized.h"
#include "tests/support/vulkan_adapter.h"

namespace salient::runner {
namespace {

std::vector<float> all_logits(Runner& runner, std::span<const int32_t> tokens, const std::vector<int64_t>& pieces) {
  Sequence sequence = runner.new_sequence();
  std::vector<float> all;
  int64_t done = 0;
  for (size_t i = 0; done < std::ssize(tokens); ++i) {
    const int64_t count = std::min(pieces[std::min(i, pieces.size() - 1)], std::ssize(tokens) - done);
    const TokenRun run{tokens.subspan(done, count), &sequence, Wanted::kAllLogits, std::ssize(tokens)};
    const auto logits = runner.forward(std::span(&run, 1));
    all.insert(all.end(), logits.begin(), logits.end());
    done += count;
  }
  return all;
}

double log_sum_exp(std::span<const float> row) {
  const double largest = *std::max_element(row.begin(), row.end());
  double sum = 0;
  for (const float logit : row) sum += std::exp(logit - largest);
  return largest + std::log(sum);
}

/// The largest difference of log-probabilities of two [rows, vocab] matrices of logits.
double largest_difference(const std::vector<float>& a, const std::vector<float>& b, int64_t vocab) {
  EXPECT_EQ(a.size(), b.size());
  double largest = 0;
  for (size_t first = 0; first < std::min(a.size(), b.size()); first += static_cast<size_t>(vocab)) {
    const std::span row_a(&a[first], static_cast<size_t>(vocab));
    const std::span row_b(&b[first], static_cast<size_t>(vocab));
    const double shift = log_sum_exp(row_a) - log_sum_exp(row_b);
    for (int64_t i = 0; i < vocab; ++i) {
      const double difference = std::abs(row_a[i] - row_b[i] - shift);
      // A NaN is larger than anything.
      if (!(difference <= largest)) largest = std::isnan(difference) ? INFINITY : difference;
    }
  }
  return largest;
}

/// A family's tiny model with the logits that transformers computed.
struct Family {
  bool shared;
  const char* name;
};

void PrintTo(const Family& family, std::ostream* stream) {
  *stream << family.name;
}

class VulkanFamilies : public testing::TestWithParam<Family> {
 protected:
  void SetUp() override {
    if (const std::string reason = tests::no_vulkan(); !reason.empty()) GTEST_SKIP() << reason;
    const std::filesystem::path own = std::filesystem::path(SALIENT_SOURCE_DIR) / "tests" / "golden";
    const auto folder = (GetParam().shared ? tests::shared_data() / "tiny" : own) / GetParam().name;
    if (!std::filesystem::exists(folder)) GTEST_SKIP() << folder << " is not here";
    goldens_ = tests::read_json(folder / "goldens.json");
    auto checkpoint = std::make_shared<checkpoint::Checkpoint>(checkpoint::open_checkpoint(folder));
    decoder_ = std::make_shared<model::Decoder>(std::move(checkpoint));
  }

  nlohmann::json goldens_;
  core::ThreadPool pool_{2};
  std::shared_ptr<model::Decoder> decoder_;
};

std::string identifier(const testing::TestParamInfo<Family>& family) {
  std::string name = family.param.name;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(Own, VulkanFamilies,
                         testing::Values(Family{false, "linear"}, Family{false, "llama32"}, Family{false, "phi4-mini"},
                                         Family{false, "smollm3"}, Family{false, "yarn"}),
                         identifier);
INSTANTIATE_TEST_SUITE_P(Shared, VulkanFamilies,
                         testing::Values(Family{true, "gemma2"}, Family{true, "gemma3"}, Family{true, "mistral-swa"},
                                         Family{true, "phi2"}, Family{true, "phi3-128k"}, Family{true, "phi3-hd96"},
                                         Family{true, "phi3-medium"}, Family{true, "qwen2"}, Family{true, "qwen3"}),
                         identifier);

// Both keep keys and values in fp16, whose rounding the two may do differently by one unit: 2^-11 of a number.
TEST_P(VulkanFamilies, LogProbabilitiesAreTheCpus) {
  VulkanRunner vulkan(decoder_, pool_);
  CpuRunner cpu(decoder_, pool_, {.activations = Activations::kFp32});
  const int64_t vocab = cpu.spec().vocab_size;
  double largest = 0;
  for (const auto& prompt : goldens_["prompts"]) {
    const auto ids = prompt["ids"].get<std::vector<int32_t>>();
    const auto expected = all_logits(cpu, ids, {std::ssize(ids)});
    const double difference = largest_difference(all_logits(vulkan, ids, {std::ssize(ids)}), expected, vocab);
    EXPECT_LE(difference, 5e-3) << "prompt of " << ids.size() << " tokens";
    largest = std::max(largest, difference);
  }
  RecordProperty("largest", std::to_string(largest));
}

TEST_P(VulkanFamilies, GreedyTokensAreTheReferences) {
  VulkanRunner runner(decoder_, pool_);
  constexpr size_t kSteps = 8;
  for (const auto& prompt : goldens_["prompts"]) {
    const auto ids = prompt["ids"].get<std::vector<int32_t>>();
    const auto greedy = prompt["greedy32"].get<std::vector<int32_t>>();
    Sequence sequence = runner.new_sequence();
    TokenRun run{ids, &sequence};
    for (size_t step = 0; step < std::min(greedy.size(), kSteps); ++step) {
      const auto logits = runner.forward(std::span(&run, 1));
      const auto best = std::max_element(logits.begin(), logits.end());
      if (best - logits.begin() != greedy[step]) {
        // The goldens' own bound: below a margin of 0.01 the choice is rounding.
        EXPECT_LT(*best - logits[static_cast<size_t>(greedy[step])], 0.01f)
            << "prompt of " << ids.size() << ", step " << step;
      }
      run.tokens = std::span(&greedy[step], 1);
    }
  }
}

}  // namespace
}  // namespace salient::runner
