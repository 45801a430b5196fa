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

  /// The same, but returns what wanted logits are computed from: hidden states behind the final norm, rows of
  /// hidden_size. Runners that do not override it throw unsupported.
  virtual std::vector<float> hidden_states(std::span<const TokenRun> runs);
};

}  // namespace salient::runner
