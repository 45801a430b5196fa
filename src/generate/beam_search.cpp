#include "generate/beam_search.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "core/error.h"
#include "core/math.h"
#include "generate/logit_changes.h"
#include "generate/sampler.h"
#include "kernels/kernels.h"

namespace salient::generate {

namespace {

/// A text that may go on, and where its logits are.
struct Running {
  std::vector<int32_t> tokens;  ///< prompt and reply
  double sum = 0;               ///< of log probabilities
  size_t slot = 0;              ///< of the sequence that has its keys and values
};

/// One token more for one of the beams.
struct Candidate {
  size_t beam;
  int32_t token;
  double sum;
};

/// Sequences that beams take turns with. A beam that another one continues is brought into a free one by computing
/// again what is not in it: the tokens since the two parted, as a rule a few.
class Slots {
 public:
  Slots(runner::Runner& runner, int64_t count) : runner_(runner) {
    for (int64_t i = 0; i < count; ++i) slots_.push_back({runner.new_sequence(), {}});
  }

  /// The logits after each of the beams, [beams, vocab_size].
  std::vector<float> compute(std::span<const Running> beams) {
    std::vector<runner::TokenRun> runs;
    for (const Running& beam : beams) {
      Slot& slot = slots_[beam.slot];
      const int64_t shared =
          std::mismatch(beam.tokens.begin(), beam.tokens.end(), slot.tokens.begin(), slot.tokens.end()).first -
          beam.tokens.begin();
      // The last token is always computed, because its logits are needed.
      const int64_t kept = std::min<int64_t>(shared, std::ssize(beam.tokens) - 1);
      slot.sequence.truncate(kept);
      slot.tokens.resize(kept);
      runs.push_back({std::span(beam.tokens).subspan(kept), &slot.sequence, runner::Wanted::kLastLogits});
    }
    std::vector<float> logits = runner_.forward(runs);
    for (const Running& beam : beams) slots_[beam.slot].tokens = beam.tokens;
    return logits;
  }

 private:
  struct Slot {
    runner::Sequence sequence;
    std::vector<int32_t> tokens;
  };
  runner::Runner& runner_;
  std::vector<Slot> slots_;
};

class Search {
 public:
  Search(runner::Runner& runner, std::span<const int32_t> prompt, const BeamOptions& options)
      : runner_(runner),
        options_(options),
        ends_(options.ends.value_or(runner.spec().end_of_sequence)),
        prompt_tokens_(std::ssize(prompt)),
        slots_(runner, options.beams),
        running_{{{prompt.begin(), prompt.end()}, 0, 0}} {
    const int64_t context = options.context > 0 ? options.context : runner.spec().max_positions;
    limit_ = options.max_tokens > 0 ? std::min(context, prompt_tokens_ + options.max_tokens) : context;
  }

  std::vector<Beam> run(const std::stop_token& stop) {
    while (!done_ && std::ssize(running_.front().tokens) < limit_) {
      if (stop.stop_requested()) core::fail(core::ErrorKind::kCancelled, "stopped while beams were searched");
      step();
    }
    // Where everything was forbidden there is no continuation.
    if (finished_.empty()) {
      for (const Running& beam : running_) set_aside(beam.tokens, beam.sum, std::ssize(beam.tokens), false);
    }
    finished_.resize(std::min<size_t>(finished_.size(), static_cast<size_t>(options_.sequences)));
    return std::move(finished_);
  }

 private:
  void step();
  std::vector<double> log_probabilities(const Running& beam, std::span<const float> logits) const;
  std::vector<Candidate> best_candidates(std::span<const float> logits) const;
  void go_on(std::vector<Candidate> candidates);
  void set_aside(std::span<const int32_t> tokens, double sum, int64_t length, bool ended);
  double score(double sum, int64_t length) const;
  bool ends_reply(int32_t token) const { return std::find(ends_.begin(), ends_.end(), token) != ends_.end(); }

  runner::Runner& runner_;
  const BeamOptions& options_;
  std::vector<int32_t> ends_;
  int64_t prompt_tokens_;
  int64_t limit_;
  Slots slots_;
  std::vector<Running> running_;
  std::vector<Beam> finished_;  ///< best first, at most as many as beams
  bool done_ = false;
};

double Search::score(double sum, int64_t length) const {
  const int64_t counted = options_.count_prompt ? length : length - prompt_tokens_;
  return sum / core::power(static_cast<double>(counted), options_.length_penalty);
}

/// Adds the reply of a text, of `length` tokens with the end, where it is among the best.
void Search::set_aside(std::span<const int32_t> tokens, double sum, int64_t length, bool ended) {
  const Beam reply{{tokens.begin() + prompt_tokens_, tokens.end()}, score(sum, length), ended};
  const auto place =
      std::find_if(finished_.begin(), finished_.end(), [&](const Beam& other) { return other.score < reply.score; });
  finished_.insert(place, reply);
  if (std::ssize(finished_) > options_.beams) finished_.pop_back();
}

std::vector<double> Search::log_probabilities(const Running& beam, std::span<const float> logits) const {
  std::vector<float> changed(logits.begin(), logits.end());
  const float largest = changed[most_likely(changed)];
  if (!std::isfinite(largest)) {
    core::fail(core::ErrorKind::kInvalidInput, "the largest logit is {}, expected a finite number", largest);
  }
  const double sum = kernels::active_kernels().sum_exp(changed.data(), std::ssize(changed), largest);
  for (float& logit : changed) logit = static_cast<float>(static_cast<double>(logit) - largest - core::log(sum));
  change_logits(
      {.repetition_penalty = options_.repetition_penalty, .no_repeat_ngram_size = options_.no_repeat_ngram_size}, {},
      {beam.tokens, prompt_tokens_}, changed);
  for (const int32_t end : ends_) {
    const bool known = end >= 0 && end < std::ssize(changed);
    if (known && std::ssize(beam.tokens) < options_.min_length) changed[end] = -std::numeric_limits<float>::infinity();
  }
  return {changed.begin(), changed.end()};
}

/// More than the beams by as many as there are ends, so that enough of them go on.
std::vector<Candidate> Search::best_candidates(std::span<const float> logits) const {
  const int64_t vocab_size = runner_.spec().vocab_size;
  std::vector<Candidate> all;
  for (size_t beam = 0; beam < running_.size(); ++beam) {
    const auto row = logits.subspan(beam * static_cast<size_t>(vocab_size), static_cast<size_t>(vocab_size));
    const std::vector<double> values = log_probabilities(running_[beam], row);
    for (int32_t token = 0; token < vocab_size; ++token) {
      if (std::isfinite(values[token])) all.push_back({beam, token, running_[beam].sum + values[token]});
    }
  }
  const int64_t wanted = options_.beams * std::max<int64_t>(2, 1 + std::ssize(ends_));
  const auto end = all.begin() + std::min<int64_t>(wanted, std::ssize(all));
  std::partial_sort(all.begin(), end, all.end(), [](const Candidate& a, const Candidate& b) {
    return a.sum != b.sum ? a.sum > b.sum : std::pair(a.beam, a.token) < std::pair(b.beam, b.token);
  });
  all.erase(end, all.end());
  return all;
}

/// Makes beams of candidates. The first child of a beam stays in its slot, the others take those that are free.
void Search::go_on(std::vector<Candidate> candidates) {
  std::vector<bool> taken(static_cast<size_t>(options_.beams), false);
  std::vector<bool> has_child(running_.size(), false);
  for (const Candidate& candidate : candidates) {
    if (!has_child[candidate.beam]) taken[running_[candidate.beam].slot] = true;
    has_child[candidate.beam] = true;
  }
  std::vector<Running> next;
  std::fill(has_child.begin(), has_child.end(), false);
  for (const Candidate& candidate : candidates) {
    Running beam = running_[candidate.beam];
    if (has_child[candidate.beam]) {
      beam.slot = static_cast<size_t>(std::find(taken.begin(), taken.end(), false) - taken.begin());
      taken[beam.slot] = true;
    }
    has_child[candidate.beam] = true;
    beam.tokens.push_back(candidate.token);
    beam.sum = candidate.sum;
    next.push_back(std::move(beam));
  }
  running_ = std::move(next);
}

void Search::step() {
  const std::vector<float> logits = slots_.compute(running_);
  const std::vector<Candidate> candidates = best_candidates(logits);
  const int64_t length = std::ssize(running_.front().tokens) + 1;
  std::vector<Candidate> going_on;
  for (size_t rank = 0; rank < candidates.size() && std::ssize(going_on) < options_.beams; ++rank) {
    const Candidate& candidate = candidates[rank];
    const bool ends = ends_reply(candidate.token);
    if (!ends) going_on.push_back(candidate);
    if (static_cast<int64_t>(rank) >= options_.beams || !(ends || length == limit_)) continue;
    std::vector<int32_t> tokens = running_[candidate.beam].tokens;
    if (!ends) tokens.push_back(candidate.token);
    set_aside(tokens, candidate.sum, length, ends);
  }
  const bool enough = std::ssize(finished_) == options_.beams;
  const bool hopeless = going_on.empty() || (enough && finished_.back().score >= score(candidates.front().sum, length));
  done_ = (enough && options_.early_stopping) || hopeless;
  if (!going_on.empty()) go_on(std::move(going_on));
}

}  // namespace

void check(const BeamOptions& options) {
  constexpr int64_t kMostBeams = 32;
  if (options.beams < 1 || options.beams > kMostBeams) {
    core::fail(core::ErrorKind::kInvalidInput, "num-beams is {}, expected 1 to {}", options.beams, kMostBeams);
  }
  if (options.sequences < 1 || options.sequences > options.beams) {
    core::fail(core::ErrorKind::kInvalidInput, "num-return-sequences is {}, expected 1 to {}, the beams",
               options.sequences, options.beams);
  }
  if (!(std::abs(options.length_penalty) <= 100)) {
    core::fail(core::ErrorKind::kInvalidInput, "length-penalty is {}, expected -100 to 100", options.length_penalty);
  }
  check(SamplingOptions{.repetition_penalty = options.repetition_penalty,
                        .no_repeat_ngram_size = options.no_repeat_ngram_size});
}

std::vector<Beam> search_beams(runner::Runner& runner, std::span<const int32_t> prompt, const BeamOptions& options,
                               const std::stop_token& stop) {
  check(options);
  if (prompt.empty()) core::fail(core::ErrorKind::kInvalidInput, "the prompt is empty");
  const int64_t context = options.context > 0 ? options.context : runner.spec().max_positions;
  if (std::ssize(prompt) >= context) {
    core::fail(core::ErrorKind::kInvalidInput, "the prompt has {} tokens, but the context holds {}, the reply included",
               prompt.size(), context);
  }
  return Search(runner, prompt, options).run(stop);
}

}  // namespace salient::generate
