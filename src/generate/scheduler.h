#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "core/thread_pool.h"
#include "generate/generator.h"
#include "generate/log_probabilities.h"
#include "generate/logit_changes.h"
#include "generate/prefix_tree.h"
#include "generate/sampler.h"
#include "generate/step_budget.h"
#include "generate/stop_strings.h"
#include "generate/token_mask.h"
#include "runner/runner.h"
#include "text/decode_stream.h"
#include "text/tokenizer.h"

namespace salient::generate {

/// What happened to a reply in one step.
struct ReplyUpdate {
  std::string text;                               ///< whole UTF-8 characters
  std::vector<LogProbabilities> prompt_logprobs;  ///< of the prompt's tokens from its second on, in order
  std::vector<LogProbabilities> logprobs;         ///< of the reply's tokens
  int64_t tokens = 0;                             ///< of the reply so far
  int64_t prompt_done = 0;                        ///< tokens of the prompt whose keys and values are there
  std::optional<Reply> reply;                     ///< in the last update, unless it failed
  std::exception_ptr failure;                     ///< of the last update
};

/// A reply that is asked for.
struct ReplyRequest {
  std::vector<int32_t> prompt;
  SamplingOptions sampling;
  LogitBias logit_bias;
  std::shared_ptr<TokenMask> mask;  ///< what the reply may be; it serves this one. Null: anything
  /// Tells several replies to one prompt apart: each has its own random numbers, and the first those of a Generator.
  uint64_t stream = 0;
  std::optional<int64_t> max_tokens;  ///< none: until the model ends its reply or the context is full
  std::vector<std::string> stop;      ///< the reply ends before the first of these
  std::vector<int32_t> spelled;       ///< special tokens that the reply's text has all the same
  std::optional<int64_t> logprobs;    ///< how many most likely tokens to report beside each token
  bool prompt_logprobs = false;       ///< report those of the prompt too, which is then computed without the cache
  /// Instead of a reply (max_tokens is 0): the mean of the prompt's hidden states, computed without the cache.
  bool wants_embedding = false;
  std::string client;  ///< clients take turns
  std::stop_token cancelled;
  std::function<void(ReplyUpdate)> on_update;  ///< called within `step`; must not throw
};

struct SchedulerOptions {
  int64_t context = 0;             ///< of each sequence, prompt and reply together; 0: what the model was trained for
  int64_t most_running = 16;       ///< sequences in a step
  int64_t most_pages = 0;          ///< of keys and values, those kept for coming prompts included
  int64_t most_step_prompt = 512;  ///< prompt tokens in a step
};

/// What a scheduler has to do and has done.
struct SchedulerStatus {
  int64_t running = 0;
  int64_t waiting = 0;
  int64_t pages_in_use = 0;
  int64_t pages_kept = 0;  ///< of these, for coming prompts
  int64_t most_pages = 0;
  int64_t prompt_tokens = 0;
  int64_t cached_tokens = 0;  ///< of prompts, not computed because they were kept
  int64_t generated_tokens = 0;
  int64_t preemptions = 0;
};

/// Writes many replies at once. Every step takes each running sequence on by one token and reads a part of the prompts
/// that are new. A sequence is its tokens, of which some have keys and values: prompts, the token chosen last, and what
/// had to give up its pages for older sequences are all tokens that are still to be computed. Logits do not depend on
/// what goes through the model together, so a reply is the same as a Generator writes alone.
///
/// One thread may use it at a time. Runner, tokenizer and pool, in which tokens are chosen, must outlive it.
class Scheduler {
 public:
  /// Throws invalid_input when an option is out of range.
  Scheduler(runner::Runner& runner, const text::Tokenizer& tokenizer, core::ThreadPool& pool, SchedulerOptions options);
  ~Scheduler();
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  /// The longest sequence: what the options say, within the budget of pages.
  int64_t context() const { return options_.context; }
  /// Throws invalid_input when a request can never be served, with the numbers. Any thread may call it at any time.
  void check(const ReplyRequest& request) const;
  /// Checks a request and puts it into the queue.
  void submit(ReplyRequest request);
  /// One step. False when there was nothing to do.
  bool step();
  /// Gives up what is kept for coming prompts.
  void forget();
  SchedulerStatus status() const;

 private:
  struct Text;
  using Texts = std::list<Text>;
  /// A part of a text that goes through the model in this step.
  struct Run {
    Text* text;
    int64_t tokens;
  };
  /// What a run gave back: rows of all logits or of hidden states, or of one row the largest logits.
  struct Rows {
    std::span<const float> all;
    const std::vector<runner::TokenLogit>* top = nullptr;
  };

  void drop_cancelled();
  void admit();
  bool may_start(Text& text);
  bool should_wait_for_prefix(const Text& text);
  PrefixTree::Match find_kept(const Text& text);
  Texts::iterator next_in_turn();
  void choose_regime(Text& text);
  bool is_long(const Text& text) const;
  PrefixTree& tree_for(const Text& text) { return trees_[is_long(text) ? 1 : 0]; }
  std::vector<Run> plan();
  void make_room(std::vector<Run>& runs);
  bool evict();
  void preempt(Text& text);
  void compute(std::span<const Run> runs, bool for_embeddings);
  int64_t top_needed(std::span<const Run> runs, std::span<const runner::TokenRun> token_runs) const;
  void read_rows(const Run& run, const Rows& rows) const;
  void read_hidden_states(Text& text, int64_t first, std::span<const float> rows) const;
  void read_logits(const Run& run, const Rows& rows) const;
  void read_prompt_logprobs(Text& text, int64_t first, std::span<const float> logits) const;
  void go_on(Text& text);
  void take_token(Text& text, int32_t id);
  void keep(Text& text);
  void finish(Text& text, FinishReason reason);
  void fail(Text& text, std::exception_ptr failure);
  void send(Text& text);
  void remove_finished();

  runner::Runner& runner_;
  const text::Tokenizer& tokenizer_;
  core::ThreadPool& threads_;
  SchedulerOptions options_;
  std::shared_ptr<runner::PagePool> pool_;
  std::array<PrefixTree, 2> trees_;  ///< of each rotary regime
  StepBudget budget_;
  Texts waiting_;
  Texts running_;
  uint64_t arrivals_ = 0;
  SchedulerStatus totals_;  ///< what is counted, the rest is looked up
};

}  // namespace salient::generate
