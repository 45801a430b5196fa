#include "runner/cpu_runner.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/error.h"
#include "tests/support/tiny_model.h"

namespace salient::runner {
namespace {

/// With each of the ways in which keys and values are kept.
class CpuRunnerTest : public testing::TestWithParam<core::DType> {
 protected:
  void SetUp() override {
    tests::write_tiny_model(folder_.path() / "model");
    auto checkpoint = std::make_shared<checkpoint::Checkpoint>(checkpoint::open_checkpoint(folder_.path() / "model"));
    decoder_ = std::make_shared<model::Decoder>(std::move(checkpoint));
    for (int32_t i = 0; i < 200; ++i) tokens_.push_back(i * 37 % 256);
  }

  /// All logits of `tokens_`, given to the runner in pieces of these sizes (the last one again and again).
  std::vector<float> logits_in_pieces(CpuRunner& runner, std::vector<int64_t> sizes) {
    Sequence sequence = runner.new_sequence();
    std::vector<float> all;
    size_t piece = 0;
    for (int64_t done = 0; done < std::ssize(tokens_);) {
      const int64_t count = std::min(sizes[std::min(piece++, sizes.size() - 1)], std::ssize(tokens_) - done);
      const TokenRun run{std::span(tokens_).subspan(done, count), &sequence, Wanted::kAllLogits};
      const auto logits = runner.forward(std::span(&run, 1));
      all.insert(all.end(), logits.begin(), logits.end());
      done += count;
    }
    return all;
  }

  /// Options with this test's keys and values, and a head that is rounded where they are.
  static CpuRunnerOptions options() {
    return {.kv_dtype = GetParam(),
            .head = GetParam() == core::DType::kI8 ? HeadPrecision::kInt8 : HeadPrecision::kStored};
  }
  static CpuRunnerOptions streamed_options() {
    CpuRunnerOptions streamed = options();
    streamed.residency = Residency::kStreamed;
    return streamed;
  }

  tests::TemporaryFolder folder_;
  std::shared_ptr<model::Decoder> decoder_;
  std::vector<int32_t> tokens_;
};
INSTANTIATE_TEST_SUITE_P(KvCaches, CpuRunnerTest,
                         testing::Values(core::DType::kF32, core::DType::kF16, core::DType::kI8),
                         [](const auto& test) { return std::string(core::info_of(test.param).name); });

TEST_P(CpuRunnerTest, LogitsAreTheSameBitsHoweverThePromptIsCut) {
  core::ThreadPool pool(2);
  CpuRunner runner(decoder_, pool, options());
  const auto whole = logits_in_pieces(runner, {200});
  EXPECT_EQ(whole, logits_in_pieces(runner, {1}));
  EXPECT_EQ(whole, logits_in_pieces(runner, {63, 1, 64, 7}));
}

/// The head as the checkpoint has it, on hidden states, gives the logits.
TEST_P(CpuRunnerTest, LogitsComeFromHiddenStates) {
  core::ThreadPool pool(2);
  CpuRunner runner(decoder_, pool, {.kv_dtype = GetParam()});
  Sequence sequence = runner.new_sequence();
  Sequence other = runner.new_sequence();
  const TokenRun all{tokens_, &sequence, Wanted::kAllLogits};
  const std::vector<float> hidden = runner.hidden_states(std::span(&all, 1));
  const TokenRun last{tokens_, &other, Wanted::kLastLogits};
  const std::vector<float> logits = runner.forward(std::span(&last, 1));
  const int64_t size = runner.spec().hidden_size;
  ASSERT_EQ(std::ssize(hidden), std::ssize(tokens_) * size);
  EXPECT_EQ(sequence.length(), other.length());
  std::vector<float> head(runner.spec().vocab_size * size);
  decoder_->head().read_rows(0, runner.spec().vocab_size, head.data());
  for (int64_t token = 0; token < runner.spec().vocab_size; ++token) {
    double sum = 0;
    for (int64_t i = 0; i < size; ++i) sum += double{head[token * size + i]} * hidden[hidden.size() - size + i];
    EXPECT_NEAR(logits[token], sum, 1e-4) << token;
  }
}

TEST_P(CpuRunnerTest, LogitsAreTheSameBitsForAnyNumberOfThreads) {
  core::ThreadPool one(1);
  CpuRunner reference(decoder_, one, options());
  const auto expected = logits_in_pieces(reference, {150, 1});
  for (const int threads : {2, 3, 5}) {
    core::ThreadPool pool(threads);
    CpuRunner runner(decoder_, pool, options());
    EXPECT_EQ(expected, logits_in_pieces(runner, {150, 1})) << threads << " threads";
  }
}

TEST_P(CpuRunnerTest, LogitsAreTheSameBitsInAMixedBatch) {
  core::ThreadPool pool(2);
  CpuRunner runner(decoder_, pool, options());
  const auto whole = logits_in_pieces(runner, {200});
  Sequence first = runner.new_sequence();
  Sequence second = runner.new_sequence();
  Sequence third = runner.new_sequence();
  const std::span tokens(tokens_);
  const TokenRun warm_up[] = {{tokens.first(90), &second, Wanted::kNothing}};
  runner.forward(warm_up);
  const TokenRun runs[] = {{tokens, &first, Wanted::kAllLogits},
                           {tokens.subspan(90, 30), &second, Wanted::kLastLogits},
                           {tokens.first(1), &third, Wanted::kLastLogits}};
  const auto logits = runner.forward(runs);
  const int64_t vocab = 256;
  ASSERT_EQ(std::ssize(logits), (200 + 1 + 1) * vocab);
  EXPECT_TRUE(std::equal(whole.begin(), whole.end(), logits.begin()));
  EXPECT_TRUE(std::equal(&logits[200 * vocab], &logits[201 * vocab], &whole[119 * vocab]));
  EXPECT_TRUE(std::equal(&logits[201 * vocab], &logits[201 * vocab] + vocab, whole.begin()));
}

TEST_P(CpuRunnerTest, LayerByLayerGivesTheSameBits) {
  core::ThreadPool pool(2);
  CpuRunner resident(decoder_, pool, options());
  CpuRunner streamed(decoder_, pool, streamed_options());
  const auto expected = logits_in_pieces(resident, {200});
  std::vector<float> hidden(tokens_.size() * 64);
  streamed.embed(tokens_, hidden.data());
  Sequence sequence = streamed.new_sequence();
  for (int64_t i = 0; i < streamed.spec().layers; ++i) {
    sequence.truncate(0);
    streamed.run_layer(*streamed.layer(i), sequence, std::ssize(tokens_), hidden.data());
  }
  std::vector<float> logits(tokens_.size() * 256);
  streamed.head(hidden.data(), std::ssize(tokens_), logits.data());
  EXPECT_EQ(expected, logits);
}

TEST_P(CpuRunnerTest, ARewoundSequenceContinuesAsIfTheRestHadNotBeen) {
  core::ThreadPool pool(2);
  CpuRunner runner(decoder_, pool, options());
  const auto whole = logits_in_pieces(runner, {200});
  Sequence sequence = runner.new_sequence();
  const std::vector<int32_t> other(150, 5);
  TokenRun run{other, &sequence, Wanted::kNothing};
  runner.forward(std::span(&run, 1));
  sequence.truncate(0);
  run = {std::span(tokens_).first(100), &sequence, Wanted::kNothing};
  runner.forward(std::span(&run, 1));
  sequence.truncate(60);
  run = {std::span(tokens_).subspan(60), &sequence, Wanted::kLastLogits};
  const auto logits = runner.forward(std::span(&run, 1));
  EXPECT_TRUE(std::equal(logits.begin(), logits.end(), whole.end() - 256));
}

TEST_P(CpuRunnerTest, LogitsAreCloseToThoseOfExactKeysAndValues) {
  core::ThreadPool pool(2);
  CpuRunnerOptions own = options();
  own.head = HeadPrecision::kStored;
  CpuRunner runner(decoder_, pool, own);
  CpuRunner exact(decoder_, pool, {.kv_dtype = core::DType::kF32});
  const auto logits = logits_in_pieces(runner, {200});
  const auto expected = logits_in_pieces(exact, {200});
  double error = 0;
  double scale = 0;
  for (size_t i = 0; i < logits.size(); ++i) {
    error += std::pow(logits[i] - expected[i], 2);
    scale += std::pow(expected[i], 2);
  }
  // Of a vector's largest number: half of a 127th of it in int8, 2^-11 of a number in fp16.
  EXPECT_LE(std::sqrt(error / scale), GetParam() == core::DType::kF32   ? 0.0
                                      : GetParam() == core::DType::kF16 ? 2e-3
                                                                        : 2e-2);
  EXPECT_EQ(error > 0, GetParam() != core::DType::kF32);
}

TEST_P(CpuRunnerTest, ObserversSeeTheInputOfEveryLinear) {
  core::ThreadPool pool(1);
  CpuRunner runner(decoder_, pool, streamed_options());
  std::vector<float> hidden(3 * 64);
  runner.embed(std::span(tokens_).first(3), hidden.data());
  Sequence sequence = runner.new_sequence();
  std::vector<std::pair<LinearInput, int64_t>> seen;
  runner.run_layer(*runner.layer(0), sequence, 3, hidden.data(),
                   [&](LinearInput place, const float*, int64_t tokens, int64_t width) {
                     EXPECT_EQ(tokens, 3);
                     seen.emplace_back(place, width);
                   });
  const std::vector<std::pair<LinearInput, int64_t>> expected = {
      {LinearInput::kAttention, 64}, {LinearInput::kOutput, 64}, {LinearInput::kMlp, 64}, {LinearInput::kDown, 128}};
  EXPECT_EQ(seen, expected);
}

TEST_P(CpuRunnerTest, ATokenOutsideTheVocabularyIsRefusedAndChangesNothing) {
  core::ThreadPool pool(1);
  CpuRunner runner(decoder_, pool, options());
  Sequence sequence = runner.new_sequence();
  const std::vector<int32_t> bad = {1, 256};
  const TokenRun run{bad, &sequence};
  try {
    runner.forward(std::span(&run, 1));
    FAIL();
  } catch (const core::Error& error) {
    EXPECT_STREQ(error.what(), "token 256 is outside the model's vocabulary of 256");
  }
  EXPECT_EQ(sequence.length(), 0);
}

/// A small matrix with 4 or 8 bits, with zero points or offsets, its columns in order or not.
core::QuantizedTensor make_quantized(int bits, bool offsets, bool reordered) {
  core::QuantizedTensor weights;
  weights.out_features = 24;
  weights.in_features = 64;
  weights.bits = bits;
  weights.group_size = 32;
  for (int i = 0; i < 24 * 64; ++i) weights.codes.push_back(static_cast<uint8_t>(i * 7 % (1 << bits)));
  for (int i = 0; i < 24 * 2; ++i) {
    weights.scales.push_back(0.01f * static_cast<float>(i % 5 + 1));
    if (offsets) weights.offsets.push_back(0.03f * static_cast<float>(i % 7 - 3));
    if (!offsets) weights.zeros.push_back(static_cast<uint8_t>(i % (1 << bits)));
  }
  for (int i = 0; reordered && i < 64; ++i) weights.column_input.push_back(i * 5 % 64);
  return weights;
}

class QuantizedCpuLinear : public testing::TestWithParam<std::tuple<int, bool, bool>> {};
INSTANTIATE_TEST_SUITE_P(Kinds, QuantizedCpuLinear,
                         testing::Combine(testing::Values(4, 8), testing::Bool(), testing::Bool()));

TEST_P(QuantizedCpuLinear, IsItsDequantizedMatrixUpToInt8Rounding) {
  const auto [bits, offsets, reordered] = GetParam();
  const core::QuantizedTensor weights = make_quantized(bits, offsets, reordered);
  core::ThreadPool pool(2);
  const core::LinearWeights linear{core::hold(weights), {}};
  core::Arena arena;
  const CpuLinear rounded(linear, Activations::kInt8, pool, arena);
  const CpuLinear exact(linear, Activations::kFp32, pool, arena);
  EXPECT_EQ(rounded.group_size(), 32);
  EXPECT_EQ(exact.group_size(), 0);
  std::vector<float> x(2 * 64);
  for (size_t i = 0; i < x.size(); ++i) x[i] = std::sin(static_cast<float>(i));
  std::vector<float> y(2 * 24);
  std::vector<float> z(2 * 24);
  LinearStage stage(pool);
  stage.run(x.data(), 2, {{&rounded, y.data(), 24}, {&exact, z.data(), 24}});
  std::vector<float> row(64);
  for (int64_t out = 0; out < 24; ++out) {
    weights.dequantize_rows(out, 1, row.data());
    double sum = 0;
    double magnitude = 0;
    for (int i = 0; i < 64; ++i) {
      sum += double{row[i]} * x[64 + i];
      magnitude += std::fabs(row[i]);
    }
    EXPECT_NEAR(z[24 + out], sum, 1e-5 * (1 + magnitude));
    EXPECT_NEAR(y[24 + out], sum, magnitude / 127 / 2 + 1e-5 * (1 + magnitude));
  }
}

}  // namespace
}  // namespace salient::runner
