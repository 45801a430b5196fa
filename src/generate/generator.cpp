#include "generate/generator.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace salient::generate {

namespace {

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

}  // namespace

double Reply::tokens_per_second() const {
  return generate_seconds > 0 && ids.size() > 1 ? static_cast<double>(ids.size() - 1) / generate_seconds : 0;
}

Generator::Generator(runner::Runner& runner, const text::Tokenizer& tokenizer, GenerateOptions options)
    : tokenizer_(tokenizer),
      generator_(runner, std::move(options)),
      stream_(tokenizer, true),
      stop_strings_(generator_.options().stop_strings) {}

bool Generator::append(std::span<const int32_t> tokens, const std::stop_token& stop) {
  const bool complete = generator_.append(tokens, stop);
  stream_ = text::DecodeStream(tokenizer_, true);
  stop_strings_.reset();
  return complete;
}

ChosenToken Generator::next(std::string& piece) {
  const size_t length = generator_.tokens().size();
  const ChosenToken token = generator_.next();
  piece.clear();
  if (generator_.tokens().size() > length) piece = stop_strings_.push(stream_.push(token.id));
  if (!generator_.finish() || stop_strings_.matched()) return token;
  piece += stop_strings_.push(stream_.finish());
  piece += stop_strings_.finish();
  return token;
}

std::string Generator::next_into(Reply& reply) {
  std::string piece;
  const size_t length = generator_.tokens().size();
  ChosenToken token = next(piece);
  if (generator_.tokens().size() > length) {
    reply.ids.push_back(token.id);
    if (token.log_probabilities) reply.log_probabilities.push_back(std::move(*token.log_probabilities));
  }
  reply.text += piece;
  return piece;
}

std::optional<FinishReason> Generator::finish() const {
  return stop_strings_.matched() ? FinishReason::kStop : generator_.finish();
}

void Generator::rewind(int64_t length) {
  generator_.rewind(length);
  stream_ = text::DecodeStream(tokenizer_, true);
  stop_strings_.reset();
}

Reply Generator::reply(std::span<const int32_t> prompt, const PieceCallback& on_piece, std::stop_token stop) {
  const std::vector<int32_t>& before = generator_.tokens();
  // The last token is always computed, because its logits are needed.
  const auto shared = std::min<int64_t>(
      std::mismatch(prompt.begin(), prompt.end(), before.begin(), before.end()).first - prompt.begin(),
      std::max<int64_t>(std::ssize(prompt) - 1, 0));
  rewind(shared);
  Reply reply;
  reply.prompt_tokens = std::ssize(prompt);
  reply.cached_tokens = generator_.computed_tokens();
  const int64_t drafted_before = generator_.drafted_tokens();
  const int64_t accepted_before = generator_.accepted_tokens();
  const auto start = Clock::now();
  const bool complete = append(prompt.subspan(shared), stop);
  reply.prompt_seconds = seconds_since(start);

  const auto first_token = Clock::now();
  while (complete && !finish()) {
    if (stop.stop_requested()) break;
    const std::string piece = next_into(reply);
    if (!piece.empty() && on_piece) on_piece(piece);
  }
  reply.finish = finish().value_or(FinishReason::kCancelled);
  if (reply.finish == FinishReason::kCancelled) {
    const std::string rest = stop_strings_.push(stream_.finish()) + stop_strings_.finish();
    reply.text += rest;
    if (!rest.empty() && on_piece) on_piece(rest);
  }
  reply.drafted_tokens = generator_.drafted_tokens() - drafted_before;
  reply.accepted_tokens = generator_.accepted_tokens() - accepted_before;
  reply.generate_seconds = seconds_since(first_token);
  return reply;
}

}  // namespace salient::generate
