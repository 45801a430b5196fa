#include "generate/generator.h"

#include <algorithm>
#include <chrono>

#include "core/error.h"
#include "text/decode_stream.h"

namespace salient::generate {

namespace {

/// Prompt tokens between two looks at the stop request.
constexpr int64_t kPrefillTokens = 512;

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

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

double Reply::tokens_per_second() const {
  return generate_seconds > 0 && ids.size() > 1 ? static_cast<double>(ids.size() - 1) / generate_seconds : 0;
}

Generator::Generator(runner::Runner& runner, const text::Tokenizer& tokenizer, GenerateOptions options)
    : runner_(runner),
      tokenizer_(tokenizer),
      options_(options),
      sampler_(options.sampling),
      sequence_(runner.new_sequence()) {
  const int64_t most = runner.spec().max_positions;
  if (options_.context == 0) options_.context = most;
  if (options_.context < 1 || options_.context > most) {
    core::fail(core::ErrorKind::kInvalidInput, "context is {}, expected 1 to {}, the length the model was trained for",
               options_.context, most);
  }
}

/// Brings the sequence to hold the prompt and returns the logits of its last token; none when stopped.
std::vector<float> Generator::read_prompt(std::span<const int32_t> prompt, Reply& reply, const std::stop_token& stop) {
  const auto shared = std::mismatch(prompt.begin(), prompt.end(), seen_.begin(), seen_.end()).first - prompt.begin();
  // The last token is always computed, because its logits are needed.
  int64_t done = std::min<int64_t>(shared, std::ssize(prompt) - 1);
  reply.cached_tokens = done;
  sequence_.truncate(done);
  seen_.resize(done);
  std::vector<float> logits;
  while (done < std::ssize(prompt)) {
    if (stop.stop_requested()) return {};
    const int64_t count = std::min(kPrefillTokens, std::ssize(prompt) - done);
    const auto part = prompt.subspan(done, count);
    const bool last = done + count == std::ssize(prompt);
    const runner::TokenRun run{part, &sequence_, last ? runner::Wanted::kLastLogits : runner::Wanted::kNothing,
                               std::ssize(prompt)};
    logits = runner_.forward(std::span(&run, 1));
    seen_.insert(seen_.end(), part.begin(), part.end());
    done += count;
  }
  return logits;
}

void Generator::start_guessing(std::span<const int32_t> prompt) {
  if (options_.speculation == Speculation::kOff) return;
  lookup_ = {};
  for (const int32_t id : prompt) lookup_.push(id);
  draft_length_.start_text();
}

/// Takes in the next token of the text.
void Generator::learn_from(int32_t id) {
  if (options_.speculation == Speculation::kOff) return;
  const int64_t match_length = lookup_.match_length();
  if (match_length > 0) draft_length_.count_guess(match_length, lookup_.guess(1).front() == id);
  lookup_.push(id);
}

/// The longest draft behind the token just chosen: no longer than what the reply can take, and within the rotary regime
/// that the token itself is computed in.
int64_t Generator::room_for_draft(const Reply& reply) const {
  const int64_t length = std::ssize(seen_) + 1;
  int64_t room = options_.context - length - 1;
  if (options_.max_tokens > 0) room = std::min(room, options_.max_tokens - std::ssize(reply.ids) - 1);
  const int64_t regime_end = runner_.spec().original_positions();
  if (length <= regime_end) room = std::min(room, regime_end - length);
  return std::max<int64_t>(room, 0);
}

/// What may follow the token just chosen, up to an end of the reply.
std::vector<int32_t> Generator::make_draft(const Reply& reply) const {
  if (options_.speculation == Speculation::kOff || lookup_.match_length() == 0) return {};
  const int64_t wanted = options_.speculation == Speculation::kAlways ? DraftLength::kLongestDraft
                                                                      : draft_length_.choose(lookup_.match_length());
  std::vector<int32_t> draft = lookup_.guess(std::min(wanted, room_for_draft(reply)));
  const std::vector<int32_t>& ends = runner_.spec().end_of_sequence;
  draft.erase(std::find_first_of(draft.begin(), draft.end(), ends.begin(), ends.end()), draft.end());
  return draft;
}

/// Appends the token just chosen to the sequence, and the draft to look at; returns the logits of them all.
std::vector<float> Generator::forward(int32_t id, std::span<const int32_t> draft) {
  std::vector<int32_t> tokens = {id};
  tokens.insert(tokens.end(), draft.begin(), draft.end());
  sequence_.truncate(std::ssize(seen_));
  const runner::TokenRun run{tokens, &sequence_, runner::Wanted::kAllLogits};
  const auto start = Clock::now();
  std::vector<float> logits = runner_.forward(std::span(&run, 1));
  draft_length_.count_forward(std::ssize(tokens), seconds_since(start));
  seen_.push_back(id);
  return logits;
}

Reply Generator::reply(std::span<const int32_t> prompt, const PieceCallback& on_piece, std::stop_token stop) {
  if (prompt.empty()) core::fail(core::ErrorKind::kInvalidInput, "the prompt is empty");
  if (std::ssize(prompt) >= options_.context) {
    core::fail(core::ErrorKind::kInvalidInput,
               "the prompt has {} tokens, but the context holds {}, the reply included: shorten the prompt{}",
               prompt.size(), options_.context,
               options_.context < runner_.spec().max_positions ? " or raise --context" : "");
  }
  Reply reply;
  reply.prompt_tokens = std::ssize(prompt);
  const auto start = Clock::now();
  std::vector<float> logits = read_prompt(prompt, reply, stop);
  reply.prompt_seconds = seconds_since(start);
  start_guessing(prompt);

  text::DecodeStream stream(tokenizer_, true);
  const auto emit = [&](const std::string& piece) {
    reply.text += piece;
    if (!piece.empty() && on_piece) on_piece(piece);
  };
  const auto first_token = Clock::now();
  const std::vector<int32_t>& ends = runner_.spec().end_of_sequence;
  const auto vocab_size = static_cast<size_t>(runner_.spec().vocab_size);
  std::vector<int32_t> draft;
  size_t agreed = 0;  // tokens of the draft that were chosen; the logits of the last of them are the next in turn
  reply.finish = FinishReason::kLength;
  while (std::ssize(seen_) < options_.context) {
    if (stop.stop_requested()) {
      reply.finish = FinishReason::kCancelled;
      break;
    }
    const int32_t id = sampler_.choose(std::span(logits).subspan(agreed * vocab_size, vocab_size), 0, seen_.size());
    if (std::find(ends.begin(), ends.end(), id) != ends.end()) {
      reply.finish = FinishReason::kStop;
      break;
    }
    reply.ids.push_back(id);
    emit(stream.push(id));
    if (options_.max_tokens > 0 && std::ssize(reply.ids) >= options_.max_tokens) break;
    learn_from(id);
    if (agreed < draft.size() && draft[agreed] == id) {
      ++agreed;
      ++reply.accepted_tokens;
      seen_.push_back(id);
      continue;
    }
    draft = make_draft(reply);
    agreed = 0;
    reply.drafted_tokens += std::ssize(draft);
    logits = forward(id, draft);
  }
  sequence_.truncate(std::ssize(seen_));
  emit(stream.finish());
  reply.generate_seconds = seconds_since(first_token);
  return reply;
}

}  // namespace salient::generate
