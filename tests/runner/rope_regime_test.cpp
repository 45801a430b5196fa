#include <gtest/gtest.h>

#include "runner/cpu_runner.h"

namespace salient::runner {
namespace {

/// A model whose rotary frequencies change for texts of more than 32 tokens.
class RopeRegimeTest : public testing::TestWithParam<core::DType> {
 protected:
  void SetUp() override {
    const auto folder = std::filesystem::path(SALIENT_SOURCE_DIR) / "tests" / "golden" / "phi4-mini";
    auto checkpoint = std::make_shared<checkpoint::Checkpoint>(checkpoint::open_checkpoint(folder));
    runner_ = std::make_unique<CpuRunner>(
        std::make_shared<model::Decoder>(std::move(checkpoint)), pool_,
        CpuRunnerOptions{.kv_dtype = GetParam(), .progress = [this](const core::Progress& progress) {
                           if (progress.unit == "tokens") recomputed_.push_back(progress.total);
                         }});
    for (int32_t i = 0; i < 70; ++i) tokens_.push_back(3 + i * 29 % 60);
  }

  std::vector<float> append(Sequence& sequence, std::span<const int32_t> tokens, int64_t final_length = 0) {
    const TokenRun run{tokens, &sequence, Wanted::kLastLogits, final_length};
    return runner_->forward(std::span(&run, 1));
  }
  /// The logits after the first `count` tokens, computed in one go.
  std::vector<float> fresh(int64_t count) {
    Sequence sequence = runner_->new_sequence();
    return append(sequence, std::span(tokens_).first(count));
  }

  core::ThreadPool pool_{2};
  std::unique_ptr<CpuRunner> runner_;
  std::vector<int32_t> tokens_;
  std::vector<int64_t> recomputed_;  ///< lengths of the texts that were computed again
};
INSTANTIATE_TEST_SUITE_P(KvCaches, RopeRegimeTest, testing::Values(core::DType::kF16, core::DType::kI8),
                         [](const auto& test) { return std::string(core::info_of(test.param).name); });

TEST_P(RopeRegimeTest, ATextThatGrowsPastTheOriginalLengthIsComputedAgain) {
  Sequence sequence = runner_->new_sequence();
  append(sequence, std::span(tokens_).first(30));
  for (int64_t count = 31; count <= 40; ++count) {
    EXPECT_EQ(append(sequence, std::span(tokens_).subspan(count - 1, 1)), fresh(count)) << count;
  }
  EXPECT_EQ(recomputed_, std::vector<int64_t>{32});
}

TEST_P(RopeRegimeTest, ATextThatIsRewoundBelowItIsComputedAgain) {
  Sequence sequence = runner_->new_sequence();
  append(sequence, tokens_);
  sequence.truncate(20);
  EXPECT_EQ(append(sequence, std::span(tokens_).subspan(20, 5)), fresh(25));
  EXPECT_EQ(recomputed_, std::vector<int64_t>{20});
}

TEST_P(RopeRegimeTest, APromptInPiecesHasTheRegimeOfItsWholeLength) {
  Sequence sequence = runner_->new_sequence();
  append(sequence, std::span(tokens_).first(20), 70);
  append(sequence, std::span(tokens_).subspan(20, 1), 70);
  EXPECT_EQ(append(sequence, std::span(tokens_).subspan(21), 70), fresh(70));
  EXPECT_TRUE(recomputed_.empty());
}

TEST_P(RopeRegimeTest, SequencesOfBothRegimesShareABatch) {
  Sequence first = runner_->new_sequence();
  Sequence second = runner_->new_sequence();
  const std::span tokens(tokens_);
  const TokenRun runs[] = {{tokens, &first}, {tokens.first(10), &second}};
  auto expected = fresh(70);
  const auto other = fresh(10);
  expected.insert(expected.end(), other.begin(), other.end());
  EXPECT_EQ(runner_->forward(runs), expected);
}

}  // namespace
}  // namespace salient::runner
