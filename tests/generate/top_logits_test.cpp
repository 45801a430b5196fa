#include "tests/support/top_logits.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "generate/batch.h"
#include "generate/scheduler.h"
#include "tests/support/tiny_runner.h"
#include "tests/support/tiny_tokenizer.h"

/// Texts from a runner that finds the largest logits itself are those from the same runner without.
namespace salient::generate {
namespace {

using Ids = std::vector<int32_t>;

constexpr int64_t kVocab = 320;
constexpr SamplingOptions kGreedy{.temperature = 0};

/// What the CPU computes, by a runner that can give back the largest logits alone.
class TopRunner : public runner::Runner {
 public:
  explicit TopRunner(runner::Runner& runner) : runner_(runner) {}
  const model::DecoderSpec& spec() const override { return runner_.spec(); }
  runner::Sequence new_sequence() override { return runner_.new_sequence(); }
  std::vector<float> forward(std::span<const runner::TokenRun> runs) override {
    std::vector<float> logits = runner_.forward(runs);
    rows_ += std::ssize(logits) / kVocab;
    return logits;
  }
  int64_t most_top_logits() const override { return 128; }
  std::vector<std::vector<runner::TokenLogit>> top_logits(std::span<const runner::TokenRun> runs,
                                                          int64_t count) override {
    const std::vector<float> logits = runner_.forward(runs);
    std::vector<std::vector<runner::TokenLogit>> rows;
    for (size_t first = 0; first < logits.size(); first += kVocab) {
      rows.push_back(tests::top_logits_of(std::span(logits).subspan(first, kVocab), count));
    }
    top_rows_ += std::ssize(rows);
    return rows;
  }

  int64_t rows() const { return rows_; }
  int64_t top_rows() const { return top_rows_; }

 private:
  runner::Runner& runner_;
  int64_t rows_ = 0;      ///< of all logits
  int64_t top_rows_ = 0;  ///< of the largest
};

class TopLogits : public testing::Test {
 protected:
  /// Those whose choices need no more than the largest logits.
  static std::vector<SamplingOptions> samplings() {
    std::vector<SamplingOptions> all = {kGreedy, {.temperature = 0, .top_k = 0}};
    for (uint64_t seed = 0; seed < 3; ++seed) {
      all.push_back({.temperature = 1, .top_k = 1, .top_p = 1, .seed = seed});
      all.push_back({.seed = seed});
      all.push_back({.temperature = 1.5f, .top_k = 128, .top_p = 1, .seed = seed});
      all.push_back({.temperature = 2, .top_k = 50, .top_p = 0.8f, .min_p = 0.02f, .seed = seed});
    }
    return all;
  }
  Reply reply(runner::Runner& runner, const Ids& prompt, const GenerateOptions& options) {
    return Generator(runner, tokenizer_, options).reply(prompt, {});
  }
  std::vector<Ids> run(runner::Runner& runner, const std::vector<ReplyRequest>& requests) {
    Scheduler scheduler(runner, tokenizer_, cpu_->pool(), {.most_pages = 100, .most_step_prompt = 8});
    std::vector<Ids> texts(requests.size());
    for (size_t i = 0; i < requests.size(); ++i) {
      ReplyRequest request = requests[i];
      request.on_update = [&texts, i](const ReplyUpdate& update) {
        EXPECT_FALSE(update.failure);
        if (update.reply) texts[i] = update.reply->ids;
      };
      scheduler.submit(std::move(request));
    }
    while (scheduler.step()) {
    }
    return texts;
  }
  /// One for each prompt.
  std::vector<ReplyRequest> requests(const SamplingOptions& sampling) {
    std::vector<ReplyRequest> all;
    for (const Ids& prompt : prompts_) {
      ReplyRequest& request = all.emplace_back();
      request.prompt = prompt;
      request.sampling = sampling;
      request.stream = all.size();
      request.max_tokens = 20;
    }
    return all;
  }

  tests::TinyRunner cpu_{{.vocab_size = kVocab, .tied = false}};
  text::Tokenizer tokenizer_{tests::byte_level_tokenizer(), "tiny"};
  const Ids repetitive_ = {'a', 'b', 'c', 'a', 'b', 'c', 'a', 'b', 'c', 'a', 'b', 'c', 'a', 'b'};
  const std::vector<Ids> prompts_ = {{'O', 'n', 'c', 'e'}, {'X'}, repetitive_};
};

TEST_F(TopLogits, MakeTheSameReply) {
  for (const SamplingOptions& sampling : samplings()) {
    for (const Speculation speculation : {Speculation::kOff, Speculation::kAlways}) {
      const GenerateOptions options{.sampling = sampling, .max_tokens = 60, .speculation = speculation};
      TopRunner top(*cpu_);
      EXPECT_EQ(reply(top, repetitive_, options).ids, reply(*cpu_, repetitive_, options).ids)
          << sampling.top_k << ", seed " << sampling.seed;
      EXPECT_EQ(top.rows(), 1) << "that of the prompt";
      EXPECT_GE(top.top_rows(), 59);
    }
  }
}

TEST_F(TopLogits, MakeTheSameBatch) {
  for (const SamplingOptions& sampling : samplings()) {
    const GenerateOptions options{.sampling = sampling, .max_tokens = 25};
    TopRunner top(*cpu_);
    const auto replies = reply_to_batch(top, tokenizer_, prompts_, options, {}, {});
    const auto expected = reply_to_batch(*cpu_, tokenizer_, prompts_, options, {}, {});
    for (size_t i = 0; i < prompts_.size(); ++i) EXPECT_EQ(replies[i].ids, expected[i].ids) << i;
    EXPECT_EQ(top.top_rows(), 24 * std::ssize(prompts_));
  }
}

TEST_F(TopLogits, MakeTheSameRepliesOfAScheduler) {
  for (const SamplingOptions& sampling : samplings()) {
    TopRunner top(*cpu_);
    EXPECT_EQ(run(top, requests(sampling)), run(*cpu_, requests(sampling))) << sampling.top_k;
    EXPECT_EQ(top.rows(), 0);
    EXPECT_EQ(top.top_rows(), 20 * std::ssize(prompts_));
  }
  // Of one step the most that any of its replies needs.
  std::vector<ReplyRequest> mixed = requests({.temperature = 1.5f, .top_k = 128, .top_p = 1});
  mixed[1].sampling = kGreedy;
  TopRunner top(*cpu_);
  EXPECT_EQ(run(top, mixed), run(*cpu_, mixed));
  EXPECT_EQ(top.rows(), 0);
}

TEST_F(TopLogits, AreNotAskedForWhereMoreIsNeeded) {
  std::vector<GenerateOptions> all;
  for (SamplingOptions sampling : {kGreedy, SamplingOptions{.seed = 3}}) {
    all.push_back({.sampling = sampling, .min_length = 20});
    all.push_back({.sampling = sampling, .logit_bias = {{7, 2.0f}}});
    all.push_back({.sampling = sampling, .top_log_probabilities = 0});
    sampling.repetition_penalty = 1.1f;
    all.push_back({.sampling = sampling});
  }
  all.push_back({.sampling = {.top_k = 0}});
  all.push_back({.sampling = {.top_k = 129}});
  all.push_back({.sampling = {.top_k = 1000}});
  for (GenerateOptions& options : all) {
    options.max_tokens = 25;
    TopRunner top(*cpu_);
    EXPECT_EQ(reply(top, repetitive_, options).ids, reply(*cpu_, repetitive_, options).ids);
    EXPECT_EQ(top.top_rows(), 0) << &options - all.data();
  }
}

TEST_F(TopLogits, OneReplyThatNeedsMoreLeavesTheOthersAsTheyAre) {
  std::vector<ReplyRequest> mixed = requests({.seed = 4});
  mixed[1].logprobs = 2;
  mixed[1].max_tokens = 5;
  TopRunner top(*cpu_);
  const std::vector<Ids> texts = run(top, mixed);
  EXPECT_EQ(texts, run(*cpu_, mixed));
  EXPECT_EQ(texts[0], run(*cpu_, requests({.seed = 4}))[0]);
  EXPECT_GT(top.rows(), 0);
  EXPECT_GT(top.top_rows(), 0) << "once it has ended";
  mixed[1].prompt_logprobs = true;
  EXPECT_EQ(run(top, mixed), run(*cpu_, mixed));
}

TEST_F(TopLogits, AllLogitsAreThereForWhoAsks) {
  for (const Speculation speculation : {Speculation::kOff, Speculation::kAlways}) {
    TopRunner top(*cpu_);
    TokenGenerator generator(top, {.sampling = kGreedy, .speculation = speculation});
    TokenGenerator expected(*cpu_, {.sampling = kGreedy, .speculation = speculation});
    generator.append(repetitive_);
    expected.append(repetitive_);
    for (int i = 0; i < 40; ++i) {
      if (i % 3 == 2) {
        const auto logits = generator.logits();
        EXPECT_TRUE(std::ranges::equal(logits, cpu_.logits_after(generator.tokens()))) << i;
      }
      if (i % 7 == 6) {
        std::vector<float> only(kVocab, 0.0f);
        only['q'] = 1;
        generator.set_logits(only);
        expected.set_logits(only);
      }
      EXPECT_EQ(generator.next().id, expected.next().id) << i;
    }
    EXPECT_GT(top.top_rows(), 0);
  }
}

}  // namespace
}  // namespace salient::generate
