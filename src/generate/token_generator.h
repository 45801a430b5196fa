#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "generate/draft_length.h"
#include "generate/log_probabilities.h"
#include "generate/logit_changes.h"
#include "generate/prompt_lookup.h"
#include "generate/sampler.h"
#include "generate/token_chooser.h"
#include "generate/token_mask.h"
#include "runner/runner.h"

namespace salient::generate {

/// When guessed tokens (see PromptLookup) go through the model together with the one that was chosen.
enum class Speculation {
  kOff,
  kWhereFaster,  ///< as DraftLength decides
  kAlways,       ///< wherever there is a guess, to test and to measure
};

struct GenerateOptions {
  SamplingOptions sampling;
  int64_t max_tokens = 0;  ///< of a reply; 0: until the model ends it or the context is full
  int64_t context = 0;     ///< prompt and reply together; 0: what the model was trained for
  Speculation speculation = Speculation::kWhereFaster;
  int64_t min_length = 0;  ///< no token ends the reply before prompt and reply together have this many tokens
  LogitBias logit_bias = {};
  uint64_t stream = 0;  ///< with the same seed, another stream is another text
  /// Tokens that end the reply; nothing: those that the model names.
  std::optional<std::vector<int32_t>> ends = {};
  std::vector<std::string> stop_strings = {};  ///< end the reply, which does not have them
  int64_t top_log_probabilities = -1;    ///< with each token those of the most likely; -1: none, not its own either
  std::shared_ptr<TokenMask> mask = {};  ///< what the reply may be; it serves one generator. Null: anything
};

enum class FinishReason { kStop, kLength, kCancelled };

/// "stop", "length" or "cancelled".
const char* name_of(FinishReason reason);

/// A token that was chosen.
struct ChosenToken {
  int32_t id = 0;
  std::optional<LogProbabilities> log_probabilities;
};

/// One text, token by token. The runner must outlive it.
///
/// Where it is faster, several tokens go through the model at once: the chosen one and a draft of those that may
/// follow. Every token is still chosen from the model's own logits, with the random number of its position. While it is
/// the one that was drafted, the logits for the next are already there; at the first that is not, the sequence is
/// rewound. Logits do not depend on how many tokens go through together, so the text is the same with drafts and
/// without.
class TokenGenerator {
 public:
  TokenGenerator(runner::Runner& runner, GenerateOptions options);

  /// Appends tokens of a prompt and computes their logits; a reply begins after them. False when stopped: then the text
  /// has what was computed by then. Throws invalid_input when there are none, when one is outside the vocabulary, or
  /// when they leave no room for one token in the context, with both numbers; the text is then as before.
  bool append(std::span<const int32_t> tokens, const std::stop_token& stop = {});

  /// Chooses the next token and appends it, unless it ends the reply. Throws invalid_input where there is no prompt,
  /// or the context is full.
  ChosenToken next();

  /// Forgets all but the first `length` tokens. Throws invalid_input when there are fewer.
  void rewind(int64_t length);

  /// The logits for the next token, [vocab_size]; valid until the next call. Where only the largest are here, the last
  /// token is computed again.
  std::span<const float> logits();
  /// Makes the next token be chosen from these instead. Throws invalid_input when they are not vocab_size many.
  void set_logits(std::span<const float> logits);

  /// The next forward pass, when the next token needs one: for several generators in one batch. `take_logits` must
  /// follow with its logits (all of the run's tokens), or `take_top_logits` with at least `top_needed` of each row.
  std::optional<runner::TokenRun> prepare();
  void take_logits(std::vector<float> rows);
  void take_top_logits(std::vector<std::vector<runner::TokenLogit>> rows);
  /// How many of the largest logits the next token needs, where the runner can find them; 0: all.
  int64_t top_needed() const;

  const std::vector<int32_t>& tokens() const { return tokens_; }
  /// How many of them went through the model.
  int64_t computed_tokens() const { return computed_; }
  /// How many of them were appended, up to the last that was.
  int64_t prompt_tokens() const { return prompt_tokens_; }
  /// Nothing while the reply goes on.
  std::optional<FinishReason> finish() const { return finish_; }
  const GenerateOptions& options() const { return options_; }
  const model::DecoderSpec& spec() const { return runner_.spec(); }

  int64_t drafted_tokens() const { return drafted_tokens_; }
  int64_t accepted_tokens() const { return accepted_tokens_; }

 private:
  void check_room(std::span<const int32_t> tokens) const;
  bool prefill(const std::stop_token& stop);
  void ensure_logits(int64_t top_count);
  void start_rows();
  void start_guessing();
  void learn_from(int32_t id);
  int64_t room_for_draft() const;
  std::vector<int32_t> make_draft() const;

  runner::Runner& runner_;
  GenerateOptions options_;
  TokenChooser chooser_;
  runner::Sequence sequence_;
  std::vector<int32_t> tokens_;
  int64_t computed_ = 0;  ///< of tokens_, in sequence_; what else is there is the rest of a draft
  int64_t prompt_tokens_ = 0;
  int64_t limit_ = 0;  ///< of tokens_, before this reply must end
  std::optional<FinishReason> finish_;
  std::vector<float> rows_;                                ///< logits of the last forward pass
  std::vector<std::vector<runner::TokenLogit>> top_rows_;  ///< the largest of each row, where that is all there is
  size_t row_ = 0;                                         ///< the one for the next token, when there is one
  bool has_logits_ = false;                                ///< whether there is
  std::vector<int32_t> draft_;                             ///< behind the last token that was computed
  std::vector<int32_t> run_;                               ///< tokens of the forward pass in work
  PromptLookup lookup_;
  int64_t looked_up_ = 0;  ///< of tokens_, in lookup_
  DraftLength draft_length_;
  int64_t drafted_tokens_ = 0;
  int64_t accepted_tokens_ = 0;
};

}  // namespace salient::generate
