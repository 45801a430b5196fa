#include "generate/scheduler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "checkpoint/checkpoint.h"
#include "core/error.h"
#include "tests/support/tiny_runner.h"
#include "tests/support/tiny_tokenizer.h"

namespace salient::generate {
namespace {

using Ids = std::vector<int32_t>;

constexpr tests::TinyShape kShape{.vocab_size = 320, .tied = false};
constexpr SamplingOptions kFree{.temperature = 1.0f, .top_k = 0, .top_p = 1.0f, .seed = 5};

/// What a test has seen of one reply.
struct Seen {
  std::string text;
  std::vector<LogProbabilities> logprobs;
  std::vector<LogProbabilities> prompt_logprobs;
  std::optional<Reply> reply;
  std::exception_ptr failure;
  int updates = 0;
};

class SchedulerTest : public testing::Test {
 protected:
  static ReplyRequest request(const Ids& prompt, Seen& seen, int64_t max_tokens = 20) {
    ReplyRequest request;
    request.prompt = prompt;
    request.sampling = kFree;
    request.max_tokens = max_tokens;
    request.on_update = [&seen](ReplyUpdate update) {
      ++seen.updates;
      seen.text += update.text;
      seen.logprobs.insert(seen.logprobs.end(), update.logprobs.begin(), update.logprobs.end());
      seen.prompt_logprobs.insert(seen.prompt_logprobs.end(), update.prompt_logprobs.begin(),
                                  update.prompt_logprobs.end());
      if (update.reply) seen.reply = std::move(update.reply);
      if (update.failure) seen.failure = update.failure;
    };
    return request;
  }
  /// A text of this many tokens; different seeds differ from the first token on.
  static Ids text_of(int64_t size, int32_t seed) {
    Ids ids;
    for (int64_t i = 0; i < size; ++i) ids.push_back(static_cast<int32_t>((seed * 31 + i * i * 7 + i) % 256));
    return ids;
  }
  Reply lone_reply(const Ids& prompt, int64_t max_tokens = 20, const SamplingOptions& sampling = kFree) {
    Generator generator(*runner_, tokenizer_, {.sampling = sampling, .max_tokens = max_tokens});
    return generator.reply(prompt, {});
  }
  static void run_all(Scheduler& scheduler) {
    while (scheduler.step()) {
    }
  }

  tests::TinyRunner runner_{kShape, {7}};
  text::Tokenizer tokenizer_{tests::byte_level_tokenizer(), "tiny"};
};

TEST_F(SchedulerTest, WritesWhatAGeneratorWritesAlone) {
  Scheduler scheduler(*runner_, tokenizer_, runner_->pool(),
                      {.most_running = 5, .most_pages = 100, .most_step_prompt = 24});
  std::vector<Ids> prompts;
  for (int32_t i = 0; i < 8; ++i) prompts.push_back(text_of(3 + i * 29, i));
  prompts.push_back(prompts[4]);
  std::vector<Seen> seen(prompts.size());
  for (size_t i = 0; i < prompts.size(); ++i) {
    scheduler.submit(request(prompts[i], seen[i], 5 + 7 * static_cast<int64_t>(i)));
    if (i % 3 == 0) scheduler.step();
  }
  run_all(scheduler);
  for (size_t i = 0; i < prompts.size(); ++i) {
    const Reply alone = lone_reply(prompts[i], 5 + 7 * static_cast<int64_t>(i));
    ASSERT_TRUE(seen[i].reply) << i;
    EXPECT_EQ(seen[i].reply->ids, alone.ids) << i;
    EXPECT_EQ(seen[i].reply->text, alone.text) << i;
    EXPECT_EQ(seen[i].text, alone.text) << i;
    EXPECT_EQ(seen[i].reply->finish, alone.finish) << i;
    EXPECT_EQ(seen[i].reply->prompt_tokens, std::ssize(prompts[i]));
  }
}

TEST_F(SchedulerTest, AnEmbeddingIsTheMeanOfHiddenStates) {
  const Ids prompt = text_of(150, 3);
  runner::Sequence sequence = runner_->new_sequence();
  const runner::TokenRun run{prompt, &sequence, runner::Wanted::kAllLogits};
  const std::vector<float> rows = runner_->hidden_states(std::span(&run, 1));
  const size_t size = rows.size() / prompt.size();
  std::vector<double> sums(size);
  for (size_t i = 0; i < rows.size(); ++i) sums[i % size] += rows[i];
  sequence.truncate(0);

  // Beside a reply; the second time it takes so many steps that the reply needs its pages.
  for (const int64_t step : {24, 1}) {
    Scheduler scheduler(*runner_, tokenizer_, runner_->pool(), {.most_pages = 6, .most_step_prompt = step});
    Seen reply;
    Seen embedding;
    scheduler.submit(request(text_of(60, 4), reply, 250));
    ReplyRequest asked = request(prompt, embedding, 0);
    asked.wants_embedding = true;
    scheduler.submit(asked);
    run_all(scheduler);
    EXPECT_EQ(reply.reply->ids, lone_reply(text_of(60, 4), 250).ids);
    ASSERT_TRUE(embedding.reply);
    ASSERT_EQ(embedding.reply->embedding.size(), size);
    for (size_t i = 0; i < size; ++i) {
      EXPECT_EQ(embedding.reply->embedding[i], static_cast<float>(sums[i] / 150)) << i;
    }
    EXPECT_EQ(embedding.reply->ids.size(), 0u);
    EXPECT_EQ(scheduler.status().preemptions > 0, step == 1);
  }
}

TEST_F(SchedulerTest, ChangesLogitsAsAGeneratorDoes) {
  SamplingOptions penalized = kFree;
  penalized.repetition_penalty = 1.3f;
  penalized.presence_penalty = 0.7f;
  penalized.frequency_penalty = 0.4f;
  penalized.no_repeat_ngram_size = 3;
  penalized.min_p = 0.02f;
  const Ids prompt = text_of(40, 2);
  const LogitBias bias = {{lone_reply(prompt).ids[0], -100.0f}, {97, 1.5f}};
  const GenerateOptions options{.sampling = penalized, .max_tokens = 40, .logit_bias = bias};
  const Reply alone = Generator(*runner_, tokenizer_, options).reply(prompt, {});
  EXPECT_NE(alone.ids[0], lone_reply(prompt).ids[0]);

  // So few pages that texts have to give theirs up and are computed again.
  Scheduler scheduler(*runner_, tokenizer_, runner_->pool(), {.most_pages = 3, .most_step_prompt = 24});
  std::vector<Seen> seen(3);
  for (Seen& one : seen) {
    ReplyRequest asked = request(prompt, one, 40);
    asked.sampling = penalized;
    asked.logit_bias = bias;
    scheduler.submit(std::move(asked));
  }
  run_all(scheduler);
  for (const Seen& one : seen) {
    ASSERT_TRUE(one.reply);
    EXPECT_EQ(one.reply->ids, alone.ids);
    EXPECT_EQ(one.text, alone.text);
  }
}

TEST_F(SchedulerTest, ALongPromptDoesNotStopOtherReplies) {
  Scheduler scheduler(*runner_, tokenizer_, runner_->pool(), {.most_pages = 100, .most_step_prompt = 16});
  Seen first;
  scheduler.submit(request(text_of(4, 1), first, 200));
  scheduler.step();
  Seen second;
  scheduler.submit(request(text_of(400, 2), second, 1));
  while (!second.reply) {
    const int before = first.updates;
    scheduler.step();
    ASSERT_EQ(first.updates, before + 1);
  }
  EXPECT_GE(first.updates, 400 / 16);
}

TEST_F(SchedulerTest, KeepsWhatPromptsShare) {
  Scheduler scheduler(*runner_, tokenizer_, runner_->pool(), {.most_pages = 100});
  const Ids prompt = text_of(150, 3);
  Seen first;
  scheduler.submit(request(prompt, first));
  run_all(scheduler);
  EXPECT_EQ(first.reply->cached_tokens, 0);

  Ids next_turn = prompt;
  next_turn.insert(next_turn.end(), first.reply->ids.begin(), first.reply->ids.end());
  const Ids question = text_of(9, 4);
  next_turn.insert(next_turn.end(), question.begin(), question.end());
  Seen second;
  scheduler.submit(request(next_turn, second));
  run_all(scheduler);
  // The token chosen last never went through the model.
  EXPECT_EQ(second.reply->cached_tokens, std::ssize(prompt) + std::ssize(first.reply->ids) - 1);
  EXPECT_EQ(second.reply->ids, lone_reply(next_turn).ids);

  Seen again;
  scheduler.submit(request(prompt, again));
  run_all(scheduler);
  EXPECT_EQ(again.reply->cached_tokens, std::ssize(prompt) - 1);
  EXPECT_EQ(again.reply->ids, first.reply->ids);
}

TEST_F(SchedulerTest, ComputesAPromptOfSeveralRepliesOnce) {
  Scheduler scheduler(*runner_, tokenizer_, runner_->pool(), {.most_pages = 100});
  const Ids prompt = text_of(200, 3);
  std::vector<Seen> seen(3);
  for (uint64_t i = 0; i < 3; ++i) {
    ReplyRequest asked = request(prompt, seen[i]);
    asked.stream = i;
    scheduler.submit(std::move(asked));
  }
  run_all(scheduler);
  EXPECT_EQ(seen[0].reply->cached_tokens, 0);
  EXPECT_EQ(seen[1].reply->cached_tokens, 199);
  EXPECT_EQ(seen[2].reply->cached_tokens, 199);
  EXPECT_EQ(seen[0].reply->ids, lone_reply(prompt).ids);
  EXPECT_NE(seen[1].reply->ids, seen[0].reply->ids);
  EXPECT_NE(seen[2].reply->ids, seen[1].reply->ids);
}

TEST_F(SchedulerTest, TextsThatDoNotFitTogetherAreWrittenAllTheSame) {
  // Three texts grow to 4 pages each, but there are 6.
  Scheduler scheduler(*runner_, tokenizer_, runner_->pool(), {.most_running = 3, .most_pages = 6});
  std::vector<Seen> seen(3);
  for (int32_t i = 0; i < 3; ++i) scheduler.submit(request(text_of(40, i), seen[i], 200));
  while (scheduler.step()) EXPECT_LE(scheduler.status().pages_in_use, 6);
  EXPECT_GT(scheduler.status().preemptions, 0);
  for (int32_t i = 0; i < 3; ++i) {
    ASSERT_TRUE(seen[i].reply) << i;
    EXPECT_EQ(seen[i].reply->ids, lone_reply(text_of(40, i), 200).ids) << i;
    EXPECT_EQ(seen[i].text, seen[i].reply->text) << i;
  }
}

TEST_F(SchedulerTest, LeaksNoPage) {
  Scheduler scheduler(*runner_, tokenizer_, runner_->pool(),
                      {.most_running = 4, .most_pages = 8, .most_step_prompt = 32});
  std::stop_source leave;
  std::vector<Seen> seen(12);
  for (int32_t i = 0; i < 12; ++i) {
    ReplyRequest asked = request(text_of(10 + 20 * i, i % 5), seen[i], 30);
    if (i % 3 == 0) asked.cancelled = leave.get_token();
    scheduler.submit(std::move(asked));
  }
  for (int i = 0; i < 6; ++i) scheduler.step();
  leave.request_stop();
  run_all(scheduler);
  for (const Seen& one : seen) EXPECT_TRUE(one.reply);
  EXPECT_EQ(scheduler.status().running, 0);
  EXPECT_EQ(scheduler.status().waiting, 0);
  EXPECT_EQ(scheduler.status().pages_in_use, scheduler.status().pages_kept);
  scheduler.forget();
  EXPECT_EQ(scheduler.status().pages_in_use, 0);
}

TEST_F(SchedulerTest, ACancelledReplyEndsWithinOneStep) {
  Scheduler scheduler(*runner_, tokenizer_, runner_->pool(), {.most_pages = 100, .most_step_prompt = 16});
  for (const int steps_before : {0, 2, 40}) {  // in the queue, in the prompt, in the reply
    std::stop_source leave;
    Seen seen;
    ReplyRequest asked = request(text_of(300, steps_before), seen, 100);
    asked.cancelled = leave.get_token();
    scheduler.submit(std::move(asked));
    for (int i = 0; i < steps_before; ++i) scheduler.step();
    ASSERT_FALSE(seen.reply) << steps_before;
    leave.request_stop();
    scheduler.step();
    ASSERT_TRUE(seen.reply) << steps_before;
    EXPECT_EQ(seen.reply->finish, FinishReason::kCancelled);
    EXPECT_FALSE(scheduler.step()) << "nothing is left to do";
  }
}

TEST_F(SchedulerTest, EndsAtAStopString) {
  const Reply whole = lone_reply(text_of(30, 2), 100);
  const std::string stop = whole.text.substr(whole.text.size() / 2, 5);
  Scheduler scheduler(*runner_, tokenizer_, runner_->pool(), {.most_pages = 100});
  Seen seen;
  ReplyRequest asked = request(text_of(30, 2), seen, 100);
  asked.stop = {stop};
  scheduler.submit(std::move(asked));
  run_all(scheduler);
  EXPECT_EQ(seen.text, whole.text.substr(0, whole.text.find(stop)));
  EXPECT_EQ(seen.reply->text, seen.text);
  EXPECT_EQ(seen.reply->finish, FinishReason::kStop);
}

TEST_F(SchedulerTest, ReportsLogprobsOfPromptAndReply) {
  const Ids prompt = text_of(90, 6);
  Scheduler scheduler(*runner_, tokenizer_, runner_->pool(), {.most_pages = 100, .most_step_prompt = 40});
  for (int round = 0; round < 2; ++round) {  // the second time the prompt is kept, but its logits are not
    Seen seen;
    ReplyRequest asked = request(prompt, seen, 4);
    asked.logprobs = 2;
    asked.prompt_logprobs = true;
    scheduler.submit(std::move(asked));
    run_all(scheduler);
    ASSERT_EQ(seen.prompt_logprobs.size(), prompt.size() - 1);
    ASSERT_EQ(seen.logprobs.size(), 4u);
    Ids text = prompt;
    text.insert(text.end(), seen.reply->ids.begin(), seen.reply->ids.end());
    for (const size_t position : {size_t{1}, size_t{50}, prompt.size() - 1, prompt.size(), text.size() - 1}) {
      const auto logits = runner_.logits_after(std::span(text).first(position));
      const LogProbabilities expected = log_probabilities(logits, text[position], 2);
      const LogProbabilities& found =
          position < prompt.size() ? seen.prompt_logprobs[position - 1] : seen.logprobs[position - prompt.size()];
      EXPECT_EQ(found.chosen.id, expected.chosen.id) << position;
      EXPECT_EQ(found.chosen.log_probability, expected.chosen.log_probability) << position;
      ASSERT_EQ(found.top.size(), 2u) << position;
      EXPECT_EQ(found.top[1].id, expected.top[1].id) << position;
    }
  }
}

TEST_F(SchedulerTest, ScoresAPromptWithoutWritingAnything) {
  Scheduler scheduler(*runner_, tokenizer_, runner_->pool(), {.most_pages = 100});
  Seen seen;
  ReplyRequest asked = request(text_of(10, 6), seen, 0);
  asked.prompt_logprobs = true;
  scheduler.submit(std::move(asked));
  run_all(scheduler);
  EXPECT_TRUE(seen.reply->ids.empty());
  EXPECT_EQ(seen.prompt_logprobs.size(), 9u);
}

TEST_F(SchedulerTest, ClientsTakeTurns) {
  Seen other;
  Scheduler scheduler(*runner_, tokenizer_, runner_->pool(), {.most_running = 2, .most_pages = 100});
  std::vector<Seen> first(3);
  for (int32_t i = 0; i < 3; ++i) {
    ReplyRequest asked = request(text_of(5, i), first[i], 3);
    asked.client = "greedy";
    scheduler.submit(std::move(asked));
  }
  ReplyRequest asked = request(text_of(5, 9), other, 3);
  asked.client = "other";
  scheduler.submit(std::move(asked));
  scheduler.step();
  EXPECT_EQ(first[0].updates, 1);
  EXPECT_EQ(other.updates, 1) << "it runs beside the first of a client that asked for more before";
  EXPECT_EQ(first[1].updates, 0);
}

TEST_F(SchedulerTest, RefusesWhatCannotBeServed) {
  Scheduler scheduler(*runner_, tokenizer_, runner_->pool(), {.context = 100, .most_pages = 100});
  Seen seen;
  const auto refusal = [&](ReplyRequest asked) -> std::string {
    try {
      scheduler.submit(std::move(asked));
    } catch (const core::Error& error) {
      return error.what();
    }
    return "accepted";
  };
  EXPECT_EQ(refusal(request(text_of(90, 1), seen, 11)),
            "the prompt has 90 tokens and the reply may have 11, together 101, but the context holds 100");
  EXPECT_EQ(refusal(request({}, seen)), "the prompt is empty");
  EXPECT_EQ(refusal(request({1, 320}, seen)), "token 320 of the prompt is outside the model's vocabulary of 320");
  ReplyRequest biased = request({1}, seen);
  biased.logit_bias = {{-1, 1.0f}};
  EXPECT_EQ(refusal(biased), "token -1 of the logit bias is outside the model's vocabulary of 320");
  EXPECT_EQ(refusal(request(text_of(90, 1), seen, 10)), "accepted");
  EXPECT_EQ(Scheduler(*runner_, tokenizer_, runner_->pool(), {.most_pages = 2}).context(), 128)
      << "no more than there is room for";
}

TEST_F(SchedulerTest, TextsThatOutgrowTheirRotaryRegimeAreComputedAgainInParts) {
  // Its frequencies change for texts of more than 32 tokens.
  const auto folder = std::filesystem::path(SALIENT_SOURCE_DIR) / "tests" / "golden" / "phi4-mini";
  core::ThreadPool pool(2);
  int64_t recomputed = 0;
  runner::CpuRunner runner(
      std::make_shared<model::Decoder>(std::make_shared<checkpoint::Checkpoint>(checkpoint::open_checkpoint(folder))),
      pool, {.progress = [&](const core::Progress& progress) { recomputed += progress.unit == "tokens" ? 1 : 0; }});
  Scheduler scheduler(runner, tokenizer_, pool, {.most_pages = 100, .most_step_prompt = 8});
  std::vector<Ids> prompts(5);
  for (size_t i = 0; i < prompts.size(); ++i) {
    // Short ones, a long one, and two that begin alike in different regimes.
    const size_t sizes[] = {6, 29, 50, 29, 60};
    for (size_t j = 0; j < sizes[i]; ++j) prompts[i].push_back(static_cast<int32_t>(3 + (j * 29 + i / 3) % 60));
  }
  for (int round = 0; round < 2; ++round) {
    std::vector<Seen> seen(prompts.size());
    for (size_t i = 0; i < prompts.size(); ++i) scheduler.submit(request(prompts[i], seen[i], 40));
    run_all(scheduler);
    EXPECT_EQ(recomputed, 0) << "the runner would do it at once, and all others would wait";
    for (size_t i = 0; i < prompts.size(); ++i) {
      ASSERT_TRUE(seen[i].reply) << i;
      Generator generator(runner, tokenizer_, {.sampling = kFree, .max_tokens = 40});
      EXPECT_EQ(seen[i].reply->ids, generator.reply(prompts[i], {}).ids) << i;
    }
    recomputed = 0;
  }
}

}  // namespace
}  // namespace salient::generate
