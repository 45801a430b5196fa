#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/decoder_spec.h"
#include "runner/sequence.h"

namespace salient::runner {

/// Which logits a run of tokens should give back.
enum class Wanted { kNothing, kLastLogits, kAllLogits };

/// Tokens to append to one sequence.
struct TokenRun {
  std::span<const int32_t> tokens;
  Sequence* sequence;
  Wanted wanted = Wanted::kLastLogits;
  /// The sequence's length once all of a prompt is in, when this is only a part of it; 0: this run completes it. Models
  /// with several rotary regimes choose theirs by it.
  int64_t final_length = 0;
};

/// A token and its logit.
struct TokenLogit {
  int32_t id;
  float logit;
};

/// Tokens to logits, on some device.
class Runner {
 public:
  virtual ~Runner() = default;
  virtual const model::DecoderSpec& spec() const = 0;

  /// An empty sequence with pages on this runner's device.
  virtual Sequence new_sequence() = 0;

  /// Appends each run to its sequence (no sequence twice in a batch) and returns the wanted logits, fp32 rows of
  /// vocab_size, in the order of runs and tokens. A token outside the vocabulary is invalid_input. When it throws,
  /// sequences keep their old length.
  virtual std::vector<float> forward(std::span<const TokenRun> runs) = 0;

  /// How many of a row's largest logits `top_logits` gives at most; 0: it gives none.
  virtual int64_t most_top_logits() const { return 0; }

  /// As `forward`, but of each wanted row only the `count` largest logits (1 to most_top_logits()), found on the
  /// device: largest first, the lowest id among equals, the numbers that `forward` gives. What is no number is left
  /// out, so a row may have fewer. Runners that do not override it throw unsupported.
  virtual std::vector<std::vector<TokenLogit>> top_logits(std::span<const TokenRun> runs, int64_t count);

  /// As `forward`, but returns what wanted logits are computed from: hidden states behind the final norm, rows of
  /// hidden_size. Runners that do not override it throw unsupported.
  virtual std::vector<float> hidden_states(std::span<const TokenRun> runs);
};

}  // namespace salient::runner
