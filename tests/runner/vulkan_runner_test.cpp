#include "runner/vulkan/vulkan_runner.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <optional>

#include "runner/cpu_runner.h"
#include "runner/vulkan/vulkan_bandwidth.h"
#include "runner/vulkan/vulkan_count.h"
#include "tests/support/expect_error.h"
#include "tests/support/log_probabilities.h"
#include "tests/support/tiny_model.h"
#include "tests/support/tiny_quantized.h"
#include "tests/support/top_logits.h"
#include "tests/support/vulkan_adapter.h"

namespace salient::runner {
namespace {

using tests::largest_difference;

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

  void TearDown() override {
    for (const std::string& message : vulkan_validation_messages()) ADD_FAILURE() << message;
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

// Caps make equals of logits that differ, on the host: all of them have to come back.
TEST_P(VulkanFamilies, TheLargestLogitsAreFoundWhereTheHostDoesNotChangeThem) {
  const VulkanRunner runner(decoder_, pool_);
  EXPECT_EQ(runner.most_top_logits(), std::string(GetParam().name) == "gemma2" ? 0 : 128);
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

/// A random model of int4 linears; its head is wide enough for odd numbers of rows.
class VulkanRunnerTest : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::string reason = tests::no_vulkan(); !reason.empty()) GTEST_SKIP() << reason;
    auto checkpoint =
        std::make_shared<checkpoint::Checkpoint>(tests::open_tiny_quantized(folder_.path() / "model", {.tied = false}));
    decoder_ = std::make_shared<model::Decoder>(std::move(checkpoint));
    for (int32_t i = 0; i < 200; ++i) tokens_.push_back(i * 37 % 256);
  }
  void TearDown() override {
    for (const std::string& message : vulkan_validation_messages()) ADD_FAILURE() << message;
  }
  VulkanRunner make_runner(VulkanRunnerOptions options = {.activations = Activations::kFp32}) {
    return VulkanRunner(decoder_, pool_, std::move(options));
  }
  std::vector<float> cpu_logits() {
    CpuRunner cpu(decoder_, pool_, {.activations = Activations::kFp32});
    return all_logits(cpu, tokens_, {std::ssize(tokens_)});
  }

  static constexpr int64_t kVocab = 256;
  /// Of log-probabilities: keys and values are rounded to fp16 where sums of another order may lie on the other side.
  static constexpr double kBound = 5e-3;

  tests::TemporaryFolder folder_;
  core::ThreadPool pool_{2};
  std::shared_ptr<model::Decoder> decoder_;
  std::vector<int32_t> tokens_;
};

TEST_F(VulkanRunnerTest, LogProbabilitiesAreTheCpusHoweverThePromptIsCut) {
  const auto expected = cpu_logits();
  VulkanRunner runner = make_runner();
  for (const std::vector<int64_t>& pieces : {std::vector<int64_t>{200}, {63, 1, 64, 7}, {195, 1}}) {
    EXPECT_LE(largest_difference(all_logits(runner, tokens_, pieces), expected, kVocab), kBound) << pieces[0];
  }
}

// A number that lies between two codes may be rounded to either, by sums of another order: a step is 1/254 of a head's
// largest number.
TEST_F(VulkanRunnerTest, Int8KeysAndValuesAreTheCpus) {
  CpuRunner cpu(decoder_, pool_, {.activations = Activations::kFp32, .kv_dtype = core::DType::kI8});
  const auto expected = all_logits(cpu, tokens_, {200});
  const auto in_fp16 = cpu_logits();
  for (const VulkanFeatures features : {VulkanFeatures{true, true}, VulkanFeatures{false, false}}) {
    VulkanRunner runner =
        make_runner({.features = features, .activations = Activations::kFp32, .kv_dtype = core::DType::kI8});
    EXPECT_EQ(runner.kv_dtype(), core::DType::kI8);
    for (const std::vector<int64_t>& pieces : {std::vector<int64_t>{200}, {63, 1, 64, 7}}) {
      const auto logits = all_logits(runner, tokens_, pieces);
      const double difference = largest_difference(logits, expected, kVocab);
      EXPECT_LE(difference, 0.03);
      // Nearer to the CPU's int8 than that is to fp16: it is this rounding, and no other.
      EXPECT_LT(difference, largest_difference(expected, in_fp16, kVocab));
    }
    EXPECT_LT(runner.kv_bytes_per_token(), make_runner().kv_bytes_per_token());
  }
}

TEST_F(VulkanRunnerTest, EveryFeatureCanBeLeftOut) {
  tokens_.resize(12);
  const auto expected = cpu_logits();
  for (const VulkanFeatures features : {VulkanFeatures{false, true}, VulkanFeatures{false, false}}) {
    VulkanRunner runner = make_runner({.features = features, .activations = Activations::kFp32});
    EXPECT_FALSE(runner.features().subgroups);
    EXPECT_LE(largest_difference(all_logits(runner, tokens_, {9, 1}), expected, kVocab), kBound);
  }
}

// Integers have no order of sums: whether an instruction adds four products or four do must not change a bit.
TEST_F(VulkanRunnerTest, Int8ActivationsGiveTheSameBitsWithoutTheInstruction) {
  tokens_.resize(10);
  VulkanRunner with = make_runner({.activations = Activations::kInt8});
  VulkanRunner without = make_runner({.features = {true, false}, .activations = Activations::kInt8});
  EXPECT_FALSE(without.features().integer_dot);
  const auto logits = all_logits(with, tokens_, {1});
  EXPECT_EQ(logits, all_logits(without, tokens_, {1}));
  EXPECT_NE(logits, all_logits(*std::make_unique<VulkanRunner>(decoder_, pool_,
                                                               VulkanRunnerOptions{.activations = Activations::kFp32}),
                               tokens_, {1}));
}

TEST_F(VulkanRunnerTest, SequencesOfABatchDoNotSeeEachOther) {
  const auto expected = cpu_logits();
  VulkanRunner runner = make_runner();
  Sequence first = runner.new_sequence();
  Sequence second = runner.new_sequence();
  Sequence third = runner.new_sequence();
  const std::span tokens(tokens_);
  const TokenRun warm_up[] = {{tokens.first(90), &second, Wanted::kNothing}};
  EXPECT_TRUE(runner.forward(warm_up).empty());
  const TokenRun runs[] = {{tokens.first(70), &first, Wanted::kAllLogits},
                           {tokens.subspan(90, 30), &second, Wanted::kLastLogits},
                           {tokens.first(1), &third, Wanted::kLastLogits}};
  const auto logits = runner.forward(runs);
  ASSERT_EQ(std::ssize(logits), (70 + 1 + 1) * kVocab);
  std::vector<float> wanted(expected.begin(), expected.begin() + 70 * kVocab);
  wanted.insert(wanted.end(), &expected[119 * kVocab], &expected[120 * kVocab]);
  wanted.insert(wanted.end(), expected.begin(), expected.begin() + kVocab);
  EXPECT_LE(largest_difference(logits, wanted, kVocab), kBound);
}

// More pages than the cache has at first, and pages that two sequences share until one writes.
TEST_F(VulkanRunnerTest, PagesAreKeptWhenTheCacheGrowsAndCopiedWhenTheyAreShared) {
  const auto expected = cpu_logits();
  VulkanRunner runner = make_runner();
  Sequence original = runner.new_sequence();
  const std::span tokens(tokens_);
  const TokenRun start[] = {{tokens.first(100), &original, Wanted::kNothing}};
  runner.forward(start);
  Sequence copy = runner.new_sequence();
  copy.attach(original.pages(), original.length());
  std::vector<Sequence> others;
  for (int i = 0; i < 20; ++i) {
    others.push_back(runner.new_sequence());
    const TokenRun run[] = {{tokens.first(1), &others.back(), Wanted::kNothing}};
    runner.forward(run);
  }
  const std::vector<int32_t> other_tokens(20, 5);
  const TokenRun disturb[] = {{other_tokens, &copy, Wanted::kNothing}};
  runner.forward(disturb);
  const TokenRun rest[] = {{tokens.subspan(100), &original, Wanted::kAllLogits}};
  const std::vector<float> wanted(expected.begin() + 100 * kVocab, expected.end());
  EXPECT_LE(largest_difference(runner.forward(rest), wanted, kVocab), kBound);
}

TEST_F(VulkanRunnerTest, ASequenceMayOutliveItsRunner) {
  std::optional<Sequence> sequence;
  {
    VulkanRunner runner = make_runner();
    sequence.emplace(runner.new_sequence());
    const TokenRun run[] = {{std::span(tokens_).first(3), &*sequence, Wanted::kNothing}};
    runner.forward(run);
  }
  sequence.reset();
}

TEST_F(VulkanRunnerTest, WhatCannotBeDoneIsSaid) {
  using core::ErrorKind;
  tests::expect_error(ErrorKind::kNotFound, {"there is no Vulkan device 99"}, [&] { make_runner({.adapter = 99}); });
  VulkanRunner runner = make_runner();
  Sequence sequence = runner.new_sequence();
  const std::vector<int32_t> unknown = {3, 256};
  const TokenRun run[] = {{unknown, &sequence, Wanted::kNothing}};
  tests::expect_error(ErrorKind::kInvalidInput, {"token 256", "256"}, [&] { runner.forward(run); });
  EXPECT_EQ(sequence.length(), 0);
  tests::TemporaryFolder folder;
  tests::write_tiny_model(folder.path() / "odd", {.hidden_size = 60});
  auto checkpoint = std::make_shared<checkpoint::Checkpoint>(checkpoint::open_checkpoint(folder.path() / "odd"));
  decoder_ = std::make_shared<model::Decoder>(std::move(checkpoint));
  tests::expect_error(ErrorKind::kUnsupported, {"60 inputs", "multiples of 8"}, [&] { make_runner(); });
}

// More rows than the head computes at once, of several sequences; and again, from what was recorded.
TEST_F(VulkanRunnerTest, TheLargestLogitsAreThoseOfAll) {
  const std::span tokens(tokens_);
  for (const VulkanFeatures features : {VulkanFeatures{true, true}, VulkanFeatures{false, false}}) {
    VulkanRunner runner = make_runner({.features = features, .activations = Activations::kFp32});
    EXPECT_EQ(runner.most_top_logits(), 128);
    const auto run = [&](auto&& forward) {
      Sequence first = runner.new_sequence();
      Sequence second = runner.new_sequence();
      Sequence third = runner.new_sequence();
      const TokenRun runs[] = {{tokens.first(70), &first, Wanted::kAllLogits},
                               {tokens.first(9), &second, Wanted::kNothing},
                               {tokens.first(90), &third, Wanted::kLastLogits}};
      return forward(runs);
    };
    const auto logits = run([&](std::span<const TokenRun> runs) { return runner.forward(runs); });
    for (const int64_t count : {1, 40, 40, 128}) {
      const auto top = run([&](std::span<const TokenRun> runs) { return runner.top_logits(runs, count); });
      ASSERT_EQ(top.size(), 71u);
      for (size_t row = 0; row < top.size(); ++row) {
        const auto expected = tests::top_logits_of(std::span(logits).subspan(row * kVocab, kVocab), count);
        ASSERT_EQ(tests::pairs_of(top[row]), tests::pairs_of(expected)) << "row " << row << ", " << count;
      }
    }
    Sequence sequence = runner.new_sequence();
    const TokenRun nothing[] = {{tokens.first(3), &sequence, Wanted::kNothing}};
    EXPECT_TRUE(runner.top_logits(nothing, 1).empty());
    for (const int64_t count : {0, 129}) {
      tests::expect_error(core::ErrorKind::kInvalidInput, {"expected 1 to 128"},
                          [&] { runner.top_logits(nothing, count); });
    }
  }
}

// What is counted is what runs: the same dispatches, and at least every byte of the weights.
TEST_F(VulkanRunnerTest, WhatATokenMovesIsCountedFromItsCommands) {
  VulkanRunner runner = make_runner();
  Sequence sequence = runner.new_sequence();
  const TokenRun run[] = {{std::span(tokens_).first(1), &sequence}};
  runner.top_logits(run, 1);
  const VulkanTraffic first = count_vulkan_traffic(decoder_, pool_, {.activations = Activations::kFp32}, 0);
  EXPECT_EQ(first.dispatches, runner.dispatches());
  EXPECT_EQ(first.weights, runner.bytes_per_token());
  EXPECT_EQ(first.cache, runner.kv_bytes_per_token());
  const model::DecoderSpec& spec = runner.spec();
  // Hidden states, attention and the MLP of each layer, written and read again; logits.
  const int64_t least =
      4 *
      (spec.layers * (2 * spec.hidden_size + 2 * spec.query_size() + 2 * spec.kv_size() + 2 * spec.intermediate_size) +
       spec.vocab_size);
  EXPECT_GT(first.written, least);
  EXPECT_LT(first.written, 2 * least);
  EXPECT_GT(first.read, first.weights + least);
  EXPECT_EQ(first.to_host, 8) << "a token and its logit";
  // The parts that a long context is shared out in are merged.
  const VulkanTraffic deep = count_vulkan_traffic(decoder_, pool_, {.activations = Activations::kFp32}, 1023);
  EXPECT_EQ(deep.cache, 1024 * first.cache);
  EXPECT_EQ(deep.dispatches, first.dispatches);
  const int64_t part_bytes = spec.layers * spec.heads * (spec.head_dim + 2) * 4;
  EXPECT_EQ(deep.written - first.written, part_bytes);
  // int8 activations are a quarter of the bytes, after one more dispatch for each input.
  const VulkanTraffic rounded = count_vulkan_traffic(decoder_, pool_, {.activations = Activations::kInt8}, 0);
  EXPECT_GT(rounded.dispatches, first.dispatches);
  EXPECT_EQ(rounded.weights, first.weights);
}

TEST_F(VulkanRunnerTest, MemoryIsReadAndCopied) {
  VulkanBandwidthProbe probe(0);
  EXPECT_GT(probe.bytes(), 1 << 20);
  EXPECT_GT(probe.read(), 0);
  EXPECT_GT(probe.copy(), 0);
}

TEST(VulkanAdapters, ARealDeviceIsChosenAndSoftwareNever) {
  std::vector<VulkanAdapter> adapters(3);
  for (int i = 0; i < 3; ++i) adapters[i].index = i;
  adapters[0].type = "software";
  adapters[1].type = "integrated";
  adapters[2].type = "discrete";
  EXPECT_EQ(choose_vulkan_adapter(adapters), 2);
  adapters[2].refusal = "too old";
  EXPECT_EQ(choose_vulkan_adapter(adapters), 1);
  adapters[1].type = "software";
  EXPECT_EQ(choose_vulkan_adapter(adapters), -1);
}

/// SmolLM2-135M-Instruct, in the folder that SALIENT_TEST_SMOLLM2 names.
TEST(VulkanSmolLm2, LogProbabilitiesAreTheCpus) {
  if (const std::string reason = tests::no_vulkan(); !reason.empty()) GTEST_SKIP() << reason;
  const char* folder = std::getenv("SALIENT_TEST_SMOLLM2");
  if (!folder) GTEST_SKIP() << "SALIENT_TEST_SMOLLM2 is not set";
  auto checkpoint = std::make_shared<checkpoint::Checkpoint>(checkpoint::open_checkpoint(folder));
  const auto decoder = std::make_shared<model::Decoder>(std::move(checkpoint));
  core::ThreadPool pool(2);
  VulkanRunner vulkan(decoder, pool, {.activations = Activations::kFp32});
  CpuRunner cpu(decoder, pool, {.activations = Activations::kFp32});
  const std::vector<int32_t> ids = {504, 3575, 282, 4649, 314, 7042, 30, 657, 314, 253, 5114, 282};
  const auto expected = all_logits(cpu, ids, {std::ssize(ids)});
  // Thirty layers round keys and values to fp16.
  EXPECT_LE(largest_difference(all_logits(vulkan, ids, {9, 1}), expected, decoder->spec().vocab_size), 0.02);
}

}  // namespace
}  // namespace salient::runner
