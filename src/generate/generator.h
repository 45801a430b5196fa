#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "generate/draft_length.h"
#include "generate/prompt_lookup.h"
#include "generate/sampler.h"
#include "runner/runner.h"
#include "text/tokenizer.h"

namespace salient::generate {

/// When guessed tokens (see PromptLookup) go through the model together with the one that was chosen.
enum class Speculation {
  kOff,
  kWhereFaster,  ///< as DraftLength decides
  kAlways,       ///< wherever there is a guess, to test and to measure
};

struct GenerateOptions {
  SamplingOptions sampling;
  int64_t max_tokens = 0;  ///< 0: until the model ends its reply or the context is full
  int64_t context = 0;     ///< prompt and reply together; 0: what the model was trained for
  Speculation speculation = Speculation::kWhereFaster;
};

enum class FinishReason { kStop, kLength, kCancelled };

/// "stop", "length" or "cancelled".
const char* name_of(FinishReason reason);

/// What a reply was and what it cost.
struct Reply {
  std::string text;
  std::vector<int32_t> ids;  ///< the token that ended the reply not included
  FinishReason finish = FinishReason::kStop;
  int64_t prompt_tokens = 0;
  int64_t cached_tokens = 0;  ///< of the prompt, already in the sequence from the turn before
  int64_t drafted_tokens = 0;
  int64_t accepted_tokens = 0;  ///< drafted, and chosen when it was their turn: each saved a forward pass
  double prompt_seconds = 0;
  double generate_seconds = 0;

  /// Tokens a second after the first one, whose logits came with the prompt.
  double tokens_per_second() const;
};

/// Receives the reply as it grows, in pieces of whole UTF-8 characters.
using PieceCallback = std::function<void(std::string_view piece)>;

/// Writes replies, one sequence at a time. What a prompt shares with the prompt and reply before it is not computed
/// again. Runner and tokenizer must outlive it.
///
/// Where it is faster, several tokens go through the model at once: the chosen one and a draft of those that may
/// follow. Every token is still chosen from the model's own logits, with the random number of its position. While it is
/// the one that was drafted, the logits for the next are already there; at the first that is not, the sequence is
/// rewound. Logits do not depend on how many tokens go through together, so the reply is the same with drafts and
/// without.
class Generator {
 public:
  Generator(runner::Runner& runner, const text::Tokenizer& tokenizer, GenerateOptions options);

  /// Throws invalid_input when the prompt is empty or does not leave room for one token in the context, with both
  /// numbers. A stop request ends the reply after the token in work.
  Reply reply(std::span<const int32_t> prompt, const PieceCallback& on_piece, std::stop_token stop = {});

 private:
  std::vector<float> read_prompt(std::span<const int32_t> prompt, Reply& reply, const std::stop_token& stop);
  void start_guessing(std::span<const int32_t> prompt);
  void learn_from(int32_t id);
  int64_t room_for_draft(const Reply& reply) const;
  std::vector<int32_t> make_draft(const Reply& reply) const;
  std::vector<float> forward(int32_t id, std::span<const int32_t> draft);

  runner::Runner& runner_;
  const text::Tokenizer& tokenizer_;
  GenerateOptions options_;
  Sampler sampler_;
  runner::Sequence sequence_;
  std::vector<int32_t> seen_;  ///< the tokens in sequence_, but for the rest of a draft
  PromptLookup lookup_;
  DraftLength draft_length_;
};

}  // namespace salient::generate
