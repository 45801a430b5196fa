#include "generate/scheduler.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <utility>

#include "core/error.h"
#include "generate/token_chooser.h"

namespace salient::generate {

namespace {

using core::ErrorKind;
using Clock = std::chrono::steady_clock;

double seconds_between(Clock::time_point start, Clock::time_point end) {
  return std::chrono::duration<double>(end - start).count();
}

/// Rows of logits that a run gives back are this many at most: they are large.
constexpr int64_t kMostLogitRows = 64;

}  // namespace

struct Scheduler::Text {
  Text(ReplyRequest asked, ChoiceRules rules, runner::Sequence empty, const text::Tokenizer& tokenizer,
       uint64_t arrival_number)
      : request(std::move(asked)),
        arrival(arrival_number),
        tokens(request.prompt),
        sequence(std::move(empty)),
        chooser(std::move(rules)),
        decoder(tokenizer, true, request.spelled),
        stop(request.stop) {
    reply.prompt_tokens = prompt_size();
  }

  int64_t prompt_size() const { return std::ssize(request.prompt); }
  int64_t missing() const { return std::ssize(tokens) - sequence.length(); }
  /// Whether all but the token chosen last is computed.
  bool goes_on() const { return !reply.ids.empty() && missing() == 1; }
  /// Whether something is reported of every token of the prompt, so that none may come from the cache.
  bool needs_whole_prompt() const { return request.prompt_logprobs || request.wants_embedding; }

  ReplyRequest request;
  uint64_t arrival;
  std::vector<int32_t> tokens;  ///< the prompt and the reply so far
  runner::Sequence sequence;    ///< of the first of them
  TokenChooser chooser;
  text::DecodeStream decoder;
  StopStrings stop;
  Reply reply;
  ReplyUpdate update;
  bool started = false;
  bool finished = false;
  int64_t prompt_logprobs_done = 0;
  std::vector<double> hidden_sum;  ///< of the first `hidden_done` tokens, of an embedding
  int64_t hidden_done = 0;
  int32_t chosen = 0;  ///< in this step
  LogProbabilities chosen_logprobs;
  Clock::time_point start;
  Clock::time_point first_token;
};

Scheduler::Scheduler(runner::Runner& runner, const text::Tokenizer& tokenizer, core::ThreadPool& pool,
                     SchedulerOptions options)
    : runner_(runner),
      tokenizer_(tokenizer),
      threads_(pool),
      options_(options),
      pool_(runner.new_sequence().pool()),
      trees_{PrefixTree(pool_), PrefixTree(pool_)},
      budget_(options.most_step_prompt) {
  const int64_t trained = runner.spec().max_positions;
  if (options_.context == 0) options_.context = trained;
  if (options_.context < 1 || options_.context > trained) {
    core::fail(ErrorKind::kInvalidInput, "context is {}, expected 1 to {}, the length the model was trained for",
               options_.context, trained);
  }
  if (options_.most_running < 1 || options_.most_pages < 1 || options_.most_step_prompt < 1) {
    core::fail(ErrorKind::kInvalidInput,
               "a limit of the scheduler is below 1: {} sequences, {} pages, {} "
               "prompt tokens",
               options_.most_running, options_.most_pages, options_.most_step_prompt);
  }
  options_.context = std::min(options_.context, options_.most_pages * pool_->page_tokens());
}

Scheduler::~Scheduler() = default;

void Scheduler::check(const ReplyRequest& request) const {
  generate::check(request.sampling);
  generate::check(request.logit_bias);
  if (request.prompt.empty()) core::fail(ErrorKind::kInvalidInput, "the prompt is empty");
  const int64_t size = std::ssize(request.prompt);
  const int64_t wanted = request.max_tokens.value_or(1);
  if (wanted < 0) core::fail(ErrorKind::kInvalidInput, "max_tokens is {}, expected 0 or more", wanted);
  if (size + wanted > options_.context) {
    core::fail(ErrorKind::kInvalidInput,
               "the prompt has {} tokens and the reply may have {}, together {}, but the context holds {}", size,
               request.max_tokens ? wanted : 1, size + wanted, options_.context);
  }
  const int64_t vocab_size = runner_.spec().vocab_size;
  for (const int32_t id : request.prompt) {
    if (id >= 0 && id < vocab_size) continue;
    core::fail(ErrorKind::kInvalidInput, "token {} of the prompt is outside the model's vocabulary of {}", id,
               vocab_size);
  }
  check_tokens(request.logit_bias, vocab_size);
}

void Scheduler::submit(ReplyRequest request) {
  check(request);
  ChoiceRules rules{.sampling = request.sampling,
                    .logit_bias = request.logit_bias,
                    .ends = runner_.spec().end_of_sequence,
                    .stream = request.stream,
                    .mask = request.mask};
  waiting_.emplace_back(std::move(request), std::move(rules), runner_.new_sequence(), tokenizer_, arrivals_++);
}

bool Scheduler::step() {
  if (waiting_.empty() && running_.empty()) return false;
  drop_cancelled();
  admit();
  std::vector<Run> runs = plan();
  make_room(runs);
  const auto replies_end = std::stable_partition(runs.begin(), runs.end(),
                                                 [](const Run& run) { return !run.text->request.wants_embedding; });
  compute({runs.begin(), replies_end}, false);
  compute({replies_end, runs.end()}, true);
  remove_finished();
  return true;
}

void Scheduler::drop_cancelled() {
  for (Texts* texts : {&waiting_, &running_}) {
    for (Text& text : *texts) {
      if (text.request.cancelled.stop_requested()) finish(text, FinishReason::kCancelled);
    }
  }
  remove_finished();
}

void Scheduler::remove_finished() {
  const auto finished = [](const Text& text) { return text.finished; };
  waiting_.remove_if(finished);
  running_.remove_if(finished);
}

/// Of the client with the fewest running sequences, the request that came first and need not wait for a prefix.
Scheduler::Texts::iterator Scheduler::next_in_turn() {
  std::map<std::string_view, int64_t> running;
  for (const Text& text : running_) ++running[text.request.client];
  auto next = waiting_.end();
  std::pair<int64_t, uint64_t> best;
  for (auto text = waiting_.begin(); text != waiting_.end(); ++text) {
    const std::pair turn(running[text->request.client], text->arrival);
    if ((next != waiting_.end() && turn >= best) || should_wait_for_prefix(*text)) continue;
    best = turn;
    next = text;
  }
  return next;
}

void Scheduler::admit() {
  while (std::ssize(running_) < options_.most_running) {
    const auto next = next_in_turn();
    if (next == waiting_.end() || !may_start(*next)) return;
    running_.splice(running_.end(), waiting_, next);
  }
}

/// What is kept of a text's beginning. Its last token is always computed, because its logits are needed.
PrefixTree::Match Scheduler::find_kept(const Text& text) {
  if (text.needs_whole_prompt()) return {};
  PrefixTree::Match match = tree_for(text).find(text.tokens);
  match.length = std::min<int64_t>(match.length, std::ssize(text.tokens) - 1);
  const int64_t page_tokens = pool_->page_tokens();
  match.pages.resize((match.length + page_tokens - 1) / page_tokens);
  return match;
}

/// Whether more of the text's beginning than is kept is being computed for another: it need not be computed twice.
bool Scheduler::should_wait_for_prefix(const Text& text) {
  if (text.needs_whole_prompt()) return false;
  for (const Text& other : running_) {
    if (other.goes_on() || is_long(other) != is_long(text)) continue;
    const auto differ =
        std::mismatch(text.tokens.begin(), text.tokens.end(), other.tokens.begin(), other.tokens.end()).first;
    const int64_t shared = differ - text.tokens.begin();
    if (shared >= pool_->page_tokens() && shared >= find_kept(text).length + pool_->page_tokens()) return true;
  }
  return false;
}

/// Attaches what is kept of the text's beginning, and says whether there are pages for the rest.
bool Scheduler::may_start(Text& text) {
  const PrefixTree::Match match = find_kept(text);
  text.sequence = runner_.new_sequence();
  text.sequence.attach(match.pages, match.length);
  text.sequence.set_long_rope(is_long(text));
  if (runner_.spec().original_positions() > 0) text.sequence.remember(std::span(text.tokens).first(match.length));

  int64_t promised = text.sequence.pages_to_extend(text.missing()) + 1;
  for (const Text& other : running_) promised += other.sequence.pages_to_extend(other.missing()) + 1;
  const int64_t free =
      options_.most_pages - pool_->pages_in_use() + trees_[0].unshared_pages() + trees_[1].unshared_pages();
  if (promised > free && !running_.empty()) {
    text.sequence.truncate(0);
    return false;
  }
  if (!text.started) {
    text.started = true;
    text.start = Clock::now();
    text.reply.cached_tokens = match.length;
    totals_.cached_tokens += match.length;
    totals_.prompt_tokens += text.prompt_size();
  }
  return true;
}

bool Scheduler::is_long(const Text& text) const {
  return runner_.spec().is_long(std::ssize(text.tokens));
}

/// A text that outgrows its rotary regime is computed again in the next, in parts like a prompt.
void Scheduler::choose_regime(Text& text) {
  if (text.sequence.length() == 0 || text.sequence.long_rope() == is_long(text)) return;
  text.sequence = runner_.new_sequence();
}

/// One token of every reply, and of what else is missing as much as the budget allows, in equal shares.
std::vector<Scheduler::Run> Scheduler::plan() {
  std::vector<Run> runs;
  std::vector<Run> prompts;
  for (Text& text : running_) {
    (text.goes_on() ? runs : prompts).push_back({&text, text.missing()});
  }
  std::stable_sort(prompts.begin(), prompts.end(), [](const Run& a, const Run& b) { return a.tokens < b.tokens; });
  int64_t budget = budget_.prompt_tokens(std::ssize(runs));
  for (auto run = prompts.begin(); run != prompts.end() && budget > 0; ++run) {
    run->tokens = std::min(run->tokens, std::max<int64_t>(budget / (prompts.end() - run), 1));
    if (run->text->request.prompt_logprobs) run->tokens = std::min(run->tokens, kMostLogitRows);
    budget -= run->tokens;
    runs.push_back(*run);
  }
  return runs;
}

/// Gives up pages kept for coming prompts, then the pages of the youngest texts, until the runs have room.
void Scheduler::make_room(std::vector<Run>& runs) {
  const auto lacks_room = [&] {
    int64_t wanted = pool_->pages_in_use();
    for (const Run& run : runs) wanted += run.text->sequence.pages_to_extend(run.tokens);
    return wanted > options_.most_pages;
  };
  while (lacks_room()) {
    if (evict()) continue;
    const auto youngest = std::max_element(running_.begin(), running_.end(),
                                           [](const Text& a, const Text& b) { return a.arrival < b.arrival; });
    std::erase_if(runs, [&](const Run& run) { return run.text == &*youngest; });
    preempt(*youngest);
    waiting_.splice(waiting_.begin(), running_, youngest);
  }
}

bool Scheduler::evict() {
  return trees_[0].evict() || trees_[1].evict();
}

void Scheduler::preempt(Text& text) {
  text.sequence.truncate(0);
  ++totals_.preemptions;
}

/// How many of each row's largest logits decide all choices of a step; 0: the runner has to give all logits.
int64_t Scheduler::top_needed(std::span<const Run> runs, std::span<const runner::TokenRun> token_runs) const {
  int64_t most = 0;
  for (size_t i = 0; i < runs.size(); ++i) {
    if (token_runs[i].wanted == runner::Wanted::kNothing) continue;
    const bool is_reported = token_runs[i].wanted == runner::Wanted::kAllLogits || runs[i].text->request.logprobs;
    const int64_t needed = is_reported ? 0 : runs[i].text->chooser.top_needed(runner_);
    if (needed == 0) return 0;
    most = std::max(most, needed);
  }
  return most;
}

/// Takes texts on by their runs: all of embeddings, or none.
void Scheduler::compute(std::span<const Run> runs, bool for_embeddings) {
  if (runs.empty()) return;
  std::vector<runner::TokenRun> token_runs;
  int64_t replies = 0;
  int64_t prompt_tokens = 0;
  for (const Run& run : runs) {
    Text& text = *run.text;
    const bool last = run.tokens == text.missing();
    const bool wants_all = text.needs_whole_prompt() && text.sequence.length() < text.prompt_size();
    (text.goes_on() ? replies : prompt_tokens) += run.tokens;
    token_runs.push_back({std::span(text.tokens).subspan(text.sequence.length(), run.tokens), &text.sequence,
                          wants_all ? runner::Wanted::kAllLogits
                          : last    ? runner::Wanted::kLastLogits
                                    : runner::Wanted::kNothing,
                          std::ssize(text.tokens)});
  }
  const auto start = Clock::now();
  const int64_t top_count = for_embeddings ? 0 : top_needed(runs, token_runs);
  std::vector<float> all_rows;
  std::vector<std::vector<runner::TokenLogit>> top_rows;
  try {
    if (top_count > 0) {
      top_rows = runner_.top_logits(token_runs, top_count);
    } else {
      all_rows = for_embeddings ? runner_.hidden_states(token_runs) : runner_.forward(token_runs);
    }
  } catch (...) {
    for (const Run& run : runs) fail(*run.text, std::current_exception());
    return;
  }
  budget_.count(prompt_tokens, replies, seconds_between(start, Clock::now()));
  const int64_t row_size = for_embeddings ? runner_.spec().hidden_size : runner_.spec().vocab_size;
  std::vector<Rows> rows;
  std::span<const float> rest(all_rows);
  auto top_row = top_rows.begin();
  for (size_t i = 0; i < runs.size(); ++i) {
    const int64_t count = token_runs[i].wanted == runner::Wanted::kAllLogits    ? runs[i].tokens
                          : token_runs[i].wanted == runner::Wanted::kLastLogits ? 1
                                                                                : 0;
    const auto size = static_cast<size_t>(top_count > 0 ? 0 : count * row_size);
    rows.push_back({rest.first(size), top_count > 0 && count > 0 ? &*top_row++ : nullptr});
    rest = rest.subspan(size);
  }
  // Choosing from a large vocabulary takes as long as a good part of a small model.
  threads_.each(std::ssize(runs), [&](int64_t i) { read_rows(runs[i], rows[i]); });
  for (const Run& run : runs) go_on(*run.text);
}

/// Takes in what a run gave back; touches nothing but its text, so that texts can do it side by side.
void Scheduler::read_rows(const Run& run, const Rows& rows) const {
  Text& text = *run.text;
  try {
    if (text.request.wants_embedding) {
      read_hidden_states(text, text.sequence.length() - run.tokens, rows.all);
    } else {
      read_logits(run, rows);
    }
  } catch (...) {
    text.update.failure = std::current_exception();
  }
}

/// Adds hidden states, from this position on, to those of the text; what was computed before it gave up its pages is
/// among them already.
void Scheduler::read_hidden_states(Text& text, int64_t first, std::span<const float> rows) const {
  const auto size = static_cast<size_t>(runner_.spec().hidden_size);
  text.hidden_sum.resize(size);
  for (int64_t position = first; !rows.empty(); ++position, rows = rows.subspan(size)) {
    if (position < text.hidden_done) continue;
    for (size_t i = 0; i < size; ++i) text.hidden_sum[i] += rows[i];
    text.hidden_done = position + 1;
  }
  if (text.missing() > 0) return;
  const auto mean = [&](double sum) { return static_cast<float>(sum / static_cast<double>(text.prompt_size())); };
  std::transform(text.hidden_sum.begin(), text.hidden_sum.end(), std::back_inserter(text.reply.embedding), mean);
}

/// Chooses the next token of a text, and reports logprobs.
void Scheduler::read_logits(const Run& run, const Rows& rows) const {
  Text& text = *run.text;
  const auto vocab_size = static_cast<size_t>(runner_.spec().vocab_size);
  const int64_t first = text.sequence.length() - run.tokens;
  if (text.request.prompt_logprobs && first < text.prompt_size()) read_prompt_logprobs(text, first, rows.all);
  if (text.missing() > 0 || text.request.max_tokens == 0) return;
  const TextSoFar so_far{text.tokens, text.prompt_size()};
  if (rows.top) {
    text.chosen = text.chooser.choose(*rows.top, so_far);
    return;
  }
  const std::span<const float> last = rows.all.last(vocab_size);
  text.chosen = text.chooser.choose(last, so_far);
  if (text.request.mask && !text.chooser.ends_reply(text.chosen)) text.request.mask->accept(text.chosen);
  if (text.request.logprobs) text.chosen_logprobs = log_probabilities(last, text.chosen, *text.request.logprobs);
}

void Scheduler::go_on(Text& text) {
  if (text.update.failure) return fail(text, text.update.failure);
  if (text.missing() == 0) {
    if (text.reply.ids.empty()) {
      text.first_token = Clock::now();
      text.reply.prompt_seconds = seconds_between(text.start, text.first_token);
    }
    if (text.sequence.length() == text.prompt_size()) keep(text);
    if (text.request.max_tokens == 0) return finish(text, FinishReason::kLength);
    take_token(text, text.chosen);
  }
  if (!text.finished) send(text);
}

/// The logits of position p are about the token of p + 1.
void Scheduler::read_prompt_logprobs(Text& text, int64_t first, std::span<const float> logits) const {
  const auto vocab_size = static_cast<size_t>(runner_.spec().vocab_size);
  for (int64_t position = first + 1; !logits.empty(); ++position, logits = logits.subspan(vocab_size)) {
    if (position >= text.prompt_size() || position <= text.prompt_logprobs_done) continue;
    text.update.prompt_logprobs.push_back(
        log_probabilities(logits.first(vocab_size), text.request.prompt[position], text.request.logprobs.value_or(0)));
    text.prompt_logprobs_done = position;
  }
}

void Scheduler::take_token(Text& text, int32_t id) {
  if (text.chooser.ends_reply(id)) return finish(text, FinishReason::kStop);
  if (text.request.logprobs) text.update.logprobs.push_back(std::move(text.chosen_logprobs));
  text.tokens.push_back(id);
  text.reply.ids.push_back(id);
  ++totals_.generated_tokens;
  text.update.text += text.stop.push(text.decoder.push(id));
  if (text.stop.matched()) return finish(text, FinishReason::kStop);
  if (text.request.mask && text.request.mask->complete()) return finish(text, FinishReason::kStop);
  if (text.request.max_tokens == std::ssize(text.reply.ids) || std::ssize(text.tokens) >= options_.context) {
    return finish(text, FinishReason::kLength);
  }
  choose_regime(text);
}

/// Keeps what is computed of a text for coming prompts that begin with it.
void Scheduler::keep(Text& text) {
  const int64_t length = text.sequence.length();
  if (length == 0) return;
  trees_[text.sequence.long_rope() ? 1 : 0].insert(std::span(text.tokens).first(length), text.sequence.pages());
}

void Scheduler::finish(Text& text, FinishReason reason) {
  keep(text);
  text.sequence.truncate(0);
  if (!text.stop.matched()) text.update.text += text.stop.push(text.decoder.finish());
  text.update.text += text.stop.finish();
  text.reply.finish = reason;
  if (!text.reply.ids.empty()) text.reply.generate_seconds = seconds_between(text.first_token, Clock::now());
  text.finished = true;
  send(text);
}

void Scheduler::fail(Text& text, std::exception_ptr failure) {
  text.sequence.truncate(0);
  text.update.failure = std::move(failure);
  text.finished = true;
  send(text);
}

void Scheduler::send(Text& text) {
  text.reply.text += text.update.text;
  text.update.tokens = std::ssize(text.reply.ids);
  text.update.prompt_done = std::min(text.sequence.length(), text.prompt_size());
  if (text.finished && !text.update.failure) text.update.reply = std::move(text.reply);
  if (text.request.on_update) text.request.on_update(std::exchange(text.update, {}));
}

void Scheduler::forget() {
  while (evict()) {
  }
}

SchedulerStatus Scheduler::status() const {
  SchedulerStatus status = totals_;
  status.running = std::ssize(running_);
  status.waiting = std::ssize(waiting_);
  status.pages_in_use = pool_->pages_in_use();
  status.pages_kept = trees_[0].pages() + trees_[1].pages();
  status.most_pages = options_.most_pages;
  return status;
}

}  // namespace salient::generate
