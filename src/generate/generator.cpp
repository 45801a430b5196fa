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

  text::DecodeStream stream(tokenizer_, true);
  const auto emit = [&](const std::string& piece) {
    reply.text += piece;
    if (!piece.empty() && on_piece) on_piece(piece);
  };
  const auto first_token = Clock::now();
  const std::vector<int32_t>& ends = runner_.spec().end_of_sequence;
  reply.finish = FinishReason::kLength;
  while (std::ssize(seen_) < options_.context) {
    if (stop.stop_requested()) {
      reply.finish = FinishReason::kCancelled;
      break;
    }
    const int32_t id = sampler_.choose(logits, 0, seen_.size());
    if (std::find(ends.begin(), ends.end(), id) != ends.end()) {
      reply.finish = FinishReason::kStop;
      break;
    }
    reply.ids.push_back(id);
    emit(stream.push(id));
    if (options_.max_tokens > 0 && std::ssize(reply.ids) >= options_.max_tokens) break;
    const runner::TokenRun run{std::span(&id, 1), &sequence_};
    logits = runner_.forward(std::span(&run, 1));
    seen_.push_back(id);
  }
  emit(stream.finish());
  reply.generate_seconds = seconds_since(first_token);
  return reply;
}

}  // namespace salient::generate
