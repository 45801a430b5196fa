#include "runner/token_runs.h"

#include <gtest/gtest.h>

#include <memory>
#include <stdexcept>

#include "core/error.h"

namespace salient::runner {
namespace {

class EmptyPool : public PagePool {
 public:
  int64_t page_tokens() const override { return 4; }

 protected:
  void add_page() override {}
  void copy_page(int32_t, int32_t) override {}
};

/// Another rotary regime from the ninth token on.
model::DecoderSpec two_regimes() {
  model::DecoderSpec spec;
  spec.vocab_size = 100;
  model::Rope rope;
  rope.long_frequencies = {1.0f};
  rope.original_positions = 8;
  spec.ropes = {rope};
  return spec;
}

TEST(TokenRuns, TokensOutsideTheVocabularyAreRefused) {
  Sequence sequence(std::make_shared<EmptyPool>());
  for (const int32_t wrong : {-1, 100}) {
    const std::vector<int32_t> tokens = {0, 99, wrong};
    const TokenRun run{tokens, &sequence};
    EXPECT_THROW(check_tokens(two_regimes(), std::span(&run, 1)), core::Error) << wrong;
  }
}

TEST(TokenRuns, ATextThatOutgrowsItsRegimeGivesBackWhatItHeld) {
  Sequence sequence(std::make_shared<EmptyPool>());
  const std::vector<int32_t> first = {1, 2, 3, 4, 5, 6};
  EXPECT_TRUE(enter_regime(two_regimes(), {first, &sequence}).empty());
  sequence.extend(6);
  sequence.remember(first);
  const std::vector<int32_t> next = {7, 8};
  EXPECT_TRUE(enter_regime(two_regimes(), {next, &sequence}).empty());
  EXPECT_FALSE(sequence.long_rope());
  EXPECT_EQ(enter_regime(two_regimes(), {.tokens = next, .sequence = &sequence, .final_length = 9}), first);
  EXPECT_TRUE(sequence.long_rope());
  EXPECT_EQ(sequence.length(), 0);
}

TEST(TokenRuns, SequencesGetTheirLengthsBackWhenWorkFails) {
  const auto pool = std::make_shared<EmptyPool>();
  Sequence first(pool);
  Sequence second(pool);
  first.extend(3);
  const std::vector<TokenRun> runs = {{{}, &first}, {{}, &second}};
  const auto grow = [&] {
    for (const TokenRun& run : runs) run.sequence->extend(5);
    return first.length();
  };
  EXPECT_EQ(keep_lengths_on_failure(runs, grow), 8);
  EXPECT_THROW(keep_lengths_on_failure(runs, [&] { return grow() > 0 ? throw std::runtime_error("full") : 0; }),
               std::runtime_error);
  EXPECT_EQ(first.length(), 8);
  EXPECT_EQ(second.length(), 5);
}

}  // namespace
}  // namespace salient::runner
