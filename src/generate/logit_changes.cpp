#include "generate/logit_changes.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <unordered_map>
#include <unordered_set>

#include "core/error.h"

namespace salient::generate {

namespace {

constexpr float kForbidden = -std::numeric_limits<float>::infinity();

/// The logit of a token, or nothing for an id that the model does not have.
float* logit_of(int32_t token, std::span<float> logits) {
  return token >= 0 && token < std::ssize(logits) ? &logits[token] : nullptr;
}

void penalize_repetition(float penalty, std::span<const int32_t> tokens, std::span<float> logits) {
  for (const int32_t token : std::unordered_set<int32_t>(tokens.begin(), tokens.end())) {
    if (float* logit = logit_of(token, logits)) *logit = *logit < 0 ? *logit * penalty : *logit / penalty;
  }
}

void penalize_counts(const SamplingOptions& options, std::span<const int32_t> reply, std::span<float> logits) {
  std::unordered_map<int32_t, int32_t> counts;
  for (const int32_t token : reply) ++counts[token];
  for (const auto& [token, count] : counts) {
    if (float* logit = logit_of(token, logits)) {
      *logit -= options.frequency_penalty * static_cast<float>(count) + options.presence_penalty;
    }
  }
}

void forbid_repeated_ngrams(int64_t size, std::span<const int32_t> tokens, std::span<float> logits) {
  const int64_t before = size - 1;
  if (std::ssize(tokens) < size) return;
  const auto end = tokens.last(before);
  for (int64_t i = 0; i + before < std::ssize(tokens); ++i) {
    if (!std::equal(end.begin(), end.end(), tokens.begin() + i)) continue;
    if (float* logit = logit_of(tokens[i + before], logits)) *logit = kForbidden;
  }
}

}  // namespace

void check_tokens(const LogitBias& bias, int64_t vocab_size) {
  for (const auto& [token, number] : bias) {
    if (token >= 0 && token < vocab_size) continue;
    core::fail(core::ErrorKind::kInvalidInput, "token {} of the logit bias is outside the model's vocabulary of {}",
               token, vocab_size);
  }
}

void check(const LogitBias& bias) {
  for (const auto& [token, number] : bias) {
    if (std::isnan(number) || number == std::numeric_limits<float>::infinity()) {
      core::fail(core::ErrorKind::kInvalidInput, "the logit bias of token {} is {}, expected a number or -inf", token,
                 number);
    }
  }
}

bool changes_logits(const SamplingOptions& options, const LogitBias& bias) {
  return options.repetition_penalty != 1 || options.presence_penalty != 0 || options.frequency_penalty != 0 ||
         options.no_repeat_ngram_size > 0 || !bias.empty();
}

void change_logits(const SamplingOptions& options, const LogitBias& bias, const TextSoFar& text,
                   std::span<float> logits) {
  if (options.repetition_penalty != 1) penalize_repetition(options.repetition_penalty, text.tokens, logits);
  if (options.presence_penalty != 0 || options.frequency_penalty != 0) {
    penalize_counts(options, text.tokens.subspan(text.prompt_tokens), logits);
  }
  if (options.no_repeat_ngram_size > 0) forbid_repeated_ngrams(options.no_repeat_ngram_size, text.tokens, logits);
  for (const auto& [token, number] : bias) {
    if (float* logit = logit_of(token, logits)) *logit += number;
  }
}

}  // namespace salient::generate
