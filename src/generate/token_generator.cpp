#include "generate/token_generator.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "core/error.h"

namespace salient::generate {

namespace {

/// Prompt tokens between two looks at the stop request.
constexpr int64_t kPrefillTokens = 512;

using Clock = std::chrono::steady_clock;

}  // namespace

const char* name_of(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kCancelled:
      return "cancelled";
  }
  return "";
}

TokenGenerator::TokenGenerator(runner::Runner& runner, GenerateOptions options)
    : runner_(runner),
      options_(std::move(options)),
      chooser_({options_.sampling, options_.logit_bias, options_.ends.value_or(runner.spec().end_of_sequence),
                options_.min_length, options_.stream, options_.mask}),
      sequence_(runner.new_sequence()) {
  const int64_t most = runner.spec().max_positions;
  if (options_.context == 0) options_.context = most;
  if (options_.context < 1 || options_.context > most) {
    core::fail(core::ErrorKind::kInvalidInput, "context is {}, expected 1 to {}, the length the model was trained for",
               options_.context, most);
  }
  check_tokens(options_.logit_bias, runner.spec().vocab_size);
}

void TokenGenerator::check_room(std::span<const int32_t> tokens) const {
  if (tokens.empty()) core::fail(core::ErrorKind::kInvalidInput, "the prompt is empty");
  const int64_t length = std::ssize(tokens_) + std::ssize(tokens);
  if (length >= options_.context) {
    core::fail(core::ErrorKind::kInvalidInput,
               "the prompt has {} tokens, but the context holds {}, the reply included: shorten the prompt{}", length,
               options_.context, options_.context < runner_.spec().max_positions ? " or raise --context" : "");
  }
}

bool TokenGenerator::append(std::span<const int32_t> tokens, const std::stop_token& stop) {
  check_room(tokens);
  const size_t old_length = tokens_.size();
  tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
  has_logits_ = false;
  bool complete = false;
  try {
    complete = prefill(stop);
  } catch (...) {
    tokens_.resize(old_length);
    computed_ = std::min<int64_t>(computed_, std::ssize(tokens_));
    throw;
  }
  prompt_tokens_ = std::ssize(tokens_);
  limit_ = options_.context;
  if (options_.max_tokens > 0) limit_ = std::min(limit_, prompt_tokens_ + options_.max_tokens);
  finish_.reset();
  if (options_.mask) options_.mask->restart();
  start_guessing();
  return complete;
}

/// Computes what was not. The logits of the last token are the next in turn.
bool TokenGenerator::prefill(const std::stop_token& stop) {
  sequence_.truncate(computed_);
  draft_.clear();
  while (computed_ < std::ssize(tokens_)) {
    if (stop.stop_requested()) {
      tokens_.resize(computed_);
      return false;
    }
    const int64_t count = std::min(kPrefillTokens, std::ssize(tokens_) - computed_);
    const bool last = computed_ + count == std::ssize(tokens_);
    const runner::TokenRun run{std::span(tokens_).subspan(computed_, count), &sequence_,
                               last ? runner::Wanted::kLastLogits : runner::Wanted::kNothing, std::ssize(tokens_)};
    rows_ = runner_.forward(std::span(&run, 1));
    computed_ += count;
  }
  top_rows_.clear();
  row_ = 0;
  has_logits_ = true;
  return true;
}

void TokenGenerator::start_guessing() {
  if (options_.speculation == Speculation::kOff) return;
  if (looked_up_ > std::ssize(tokens_)) {
    lookup_ = {};
    looked_up_ = 0;
  }
  for (; looked_up_ < std::ssize(tokens_); ++looked_up_) lookup_.push(tokens_[looked_up_]);
  draft_length_.start_text();
}

/// Takes in the token that was chosen.
void TokenGenerator::learn_from(int32_t id) {
  if (options_.speculation == Speculation::kOff) return;
  const int64_t match_length = lookup_.match_length();
  if (match_length > 0) draft_length_.count_guess(match_length, lookup_.guess(1).front() == id);
  lookup_.push(id);
  ++looked_up_;
}

/// The longest draft behind the token that was chosen last: no longer than what the reply can take, and within the
/// rotary regime that the token itself is computed in.
int64_t TokenGenerator::room_for_draft() const {
  const int64_t length = std::ssize(tokens_);
  int64_t room = limit_ - length - 1;
  const int64_t regime_end = runner_.spec().original_positions();
  if (length <= regime_end) room = std::min(room, regime_end - length);
  return std::max<int64_t>(room, 0);
}

/// What may follow the token that was chosen last, up to an end of the reply.
std::vector<int32_t> TokenGenerator::make_draft() const {
  if (options_.speculation == Speculation::kOff || lookup_.match_length() == 0) return {};
  const int64_t wanted = options_.speculation == Speculation::kAlways ? DraftLength::kLongestDraft
                                                                      : draft_length_.choose(lookup_.match_length());
  std::vector<int32_t> draft = lookup_.guess(std::min(wanted, room_for_draft()));
  const auto ends = [&](int32_t id) { return chooser_.ends_reply(id); };
  draft.erase(std::find_if(draft.begin(), draft.end(), ends), draft.end());
  return draft;
}

std::optional<runner::TokenRun> TokenGenerator::prepare() {
  if (tokens_.empty())
    core::fail(core::ErrorKind::kInvalidInput, "there is no text to go on from: append tokens first");
  if (has_logits_) return std::nullopt;
  computed_ = std::min<int64_t>(computed_, std::ssize(tokens_) - 1);
  sequence_.truncate(computed_);
  run_.assign(tokens_.begin() + computed_, tokens_.end());
  draft_.clear();
  if (run_.size() == 1) draft_ = make_draft();
  run_.insert(run_.end(), draft_.begin(), draft_.end());
  const auto wanted = draft_.empty() ? runner::Wanted::kLastLogits : runner::Wanted::kAllLogits;
  return runner::TokenRun{run_, &sequence_, wanted};
}

void TokenGenerator::take_logits(std::vector<float> rows) {
  rows_ = std::move(rows);
  top_rows_.clear();
  start_rows();
}

void TokenGenerator::take_top_logits(std::vector<std::vector<runner::TokenLogit>> rows) {
  top_rows_ = std::move(rows);
  start_rows();
}

void TokenGenerator::start_rows() {
  row_ = 0;
  computed_ = std::ssize(tokens_);
  drafted_tokens_ += std::ssize(draft_);
  has_logits_ = true;
}

int64_t TokenGenerator::top_needed() const {
  return options_.top_log_probabilities < 0 ? chooser_.top_needed(runner_) : 0;
}

/// With all logits (0) or so many of the largest, unless either are there.
void TokenGenerator::ensure_logits(int64_t top_count) {
  const auto run = prepare();
  if (!run) return;
  const std::span runs(&*run, 1);
  const auto start = Clock::now();
  if (top_count > 0) {
    take_top_logits(runner_.top_logits(runs, top_count));
  } else {
    take_logits(runner_.forward(runs));
  }
  draft_length_.count_forward(std::ssize(run->tokens), std::chrono::duration<double>(Clock::now() - start).count());
}

std::span<const float> TokenGenerator::logits() {
  if (!top_rows_.empty()) has_logits_ = false;
  ensure_logits(0);
  const auto size = static_cast<size_t>(runner_.spec().vocab_size);
  return std::span(rows_).subspan(row_ * size, size);
}

void TokenGenerator::set_logits(std::span<const float> logits) {
  if (std::ssize(logits) != runner_.spec().vocab_size) {
    core::fail(core::ErrorKind::kInvalidInput, "{} logits were given, expected {}, one for each token", logits.size(),
               runner_.spec().vocab_size);
  }
  ensure_logits(0);
  rows_.assign(logits.begin(), logits.end());
  top_rows_.clear();
  row_ = 0;
  draft_.clear();
}

ChosenToken TokenGenerator::next() {
  if (finish_ == FinishReason::kLength) {
    core::fail(core::ErrorKind::kInvalidInput, "the text has {} tokens, the most it may have", tokens_.size());
  }
  ensure_logits(top_needed());
  const TextSoFar text{tokens_, prompt_tokens_};
  ChosenToken chosen{top_rows_.empty() ? chooser_.choose(logits(), text) : chooser_.choose(top_rows_[row_], text), {}};
  if (options_.top_log_probabilities >= 0) {
    chosen.log_probabilities = log_probabilities(logits(), chosen.id, options_.top_log_probabilities);
  }
  if (chooser_.ends_reply(chosen.id)) {
    finish_ = FinishReason::kStop;
    return chosen;
  }
  tokens_.push_back(chosen.id);
  learn_from(chosen.id);
  if (row_ < draft_.size() && draft_[row_] == chosen.id) {
    ++row_;
    ++computed_;
    ++accepted_tokens_;
  } else {
    has_logits_ = false;
  }
  if (options_.mask) {
    options_.mask->accept(chosen.id);
    if (options_.mask->complete()) finish_ = FinishReason::kStop;
  }
  if (!finish_ && std::ssize(tokens_) >= limit_) finish_ = FinishReason::kLength;
  return chosen;
}

void TokenGenerator::rewind(int64_t length) {
  const int64_t old_length = std::ssize(tokens_);
  if (length < 0 || length > old_length) {
    core::fail(core::ErrorKind::kInvalidInput, "cannot rewind to {} tokens, the text has {}", length, old_length);
  }
  if (length == old_length) {
    // What ended the reply with a token can go on; what is full cannot.
    if (finish_ != FinishReason::kLength) finish_.reset();
    return;
  }
  if (options_.mask) {
    if (length >= prompt_tokens_) {
      options_.mask->rewind(old_length - length);
    } else {
      options_.mask->restart();
    }
  }
  tokens_.resize(length);
  computed_ = std::min(computed_, length);
  prompt_tokens_ = std::min(prompt_tokens_, length);
  limit_ = options_.context;
  if (options_.max_tokens > 0) limit_ = std::min(limit_, prompt_tokens_ + options_.max_tokens);
  has_logits_ = false;
  finish_.reset();
  lookup_ = {};
  looked_up_ = 0;
  start_guessing();
}

}  // namespace salient::generate
