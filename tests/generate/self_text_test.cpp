#include "generate/self_text.h"

#include <gtest/gtest.h>

#include <numeric>
#include <set>

#include "core/error.h"
#include "generate/sampler.h"
#include "tests/support/tiny_runner.h"

namespace salient::generate {
namespace {

using Texts = std::vector<std::vector<int32_t>>;

class SelfTextTest : public testing::Test {
 protected:
  /// Every token would end a reply.
  static std::vector<int32_t> all_ids() {
    std::vector<int32_t> ids(256);
    std::iota(ids.begin(), ids.end(), 0);
    return ids;
  }
  Texts write(const SelfTextOptions& options) { return write_self_text(*runner_, options, {}); }

  tests::TinyRunner runner_{tests::TinyShape{.tied = false}, all_ids()};
};

TEST_F(SelfTextTest, HasFullSequencesOfTokensOfTheVocabulary) {
  const Texts texts = write({.sequences = 5, .tokens = 40, .first_token = 3});
  ASSERT_EQ(texts.size(), 5u);
  for (const auto& text : texts) {
    EXPECT_EQ(text.size(), 40u);
    for (const int32_t token : text) EXPECT_TRUE(token >= 0 && token < 256);
    EXPECT_GT(std::set<int32_t>(text.begin(), text.end()).size(), 10u) << "no single token again and again";
  }
}

TEST_F(SelfTextTest, StartsEverySecondSequenceWithTheGivenTokenAndTheOthersAtRandom) {
  const Texts texts = write({.sequences = 20, .tokens = 1, .first_token = 3});
  std::set<int32_t> others;
  for (size_t i = 0; i < texts.size(); ++i) {
    ASSERT_EQ(texts[i].size(), 1u);
    if (i % 2 == 1) {
      others.insert(texts[i].front());
    } else {
      EXPECT_EQ(texts[i].front(), 3);
    }
  }
  EXPECT_GT(others.size(), 5u);
}

TEST_F(SelfTextTest, DependsOnTheSeedAndOnNothingElse) {
  const SelfTextOptions options{.sequences = 3, .tokens = 30, .seed = 1};
  const Texts texts = write(options);
  EXPECT_EQ(write(options), texts);
  EXPECT_NE(write({.sequences = 3, .tokens = 30, .seed = 2}), texts);
}

TEST_F(SelfTextTest, ASequenceIsTheSameInAnyBatch) {
  const Texts batch = write({.sequences = 4, .tokens = 30});
  EXPECT_EQ(write({.sequences = 1, .tokens = 30}).front(), batch.front());
  // Each on its own, from scratch for every token.
  Sampler sampler({.temperature = 1.0f, .top_k = 0, .top_p = 1.0f, .seed = 0});
  for (size_t i = 0; i < batch.size(); ++i) {
    std::vector<int32_t> text = {batch[i].front()};
    while (text.size() < 30) text.push_back(sampler.choose(runner_.logits_after(text), i, text.size()));
    EXPECT_EQ(text, batch[i]);
  }
}

TEST_F(SelfTextTest, ReportsItsProgressAndStopsWhenItIsAskedTo) {
  std::stop_source source;
  std::vector<std::pair<int64_t, int64_t>> reports;
  const auto report = [&](const core::Progress& progress) { reports.emplace_back(progress.done, progress.total); };
  write_self_text(*runner_, {.sequences = 2, .tokens = 4}, report, source.get_token());
  EXPECT_EQ(reports, (std::vector<std::pair<int64_t, int64_t>>{{4, 8}, {6, 8}, {8, 8}}));
  source.request_stop();
  try {
    write_self_text(*runner_, {.sequences = 2, .tokens = 4}, {}, source.get_token());
    ADD_FAILURE() << "went on";
  } catch (const core::Error& error) {
    EXPECT_EQ(error.kind(), core::ErrorKind::kCancelled);
  }
}

}  // namespace
}  // namespace salient::generate
