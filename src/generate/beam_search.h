#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <stop_token>
#include <vector>

#include "runner/runner.h"

namespace salient::generate {

struct BeamOptions {
  int64_t beams = 4;
  int64_t sequences = 1;      ///< to return, at most as many as beams
  double length_penalty = 1;  ///< a score is the sum of log probabilities / length ^ this: above 0 favours long replies
  /// Ends once as many replies as beams have ended; else when no beam can become better than the worst of those.
  bool early_stopping = false;
  int64_t max_tokens = 0;  ///< of a reply; 0: until the context is full
  int64_t context = 0;     ///< prompt and reply together; 0: what the model was trained for
  int64_t min_length = 0;  ///< no token ends a reply before prompt and reply together have this many tokens
  float repetition_penalty = 1;
  int64_t no_repeat_ngram_size = 0;
  bool count_prompt = false;  ///< whether the length of a score has the prompt's tokens, as in onnxruntime-genai
  /// Tokens that end a reply; nothing: those that the model names.
  std::optional<std::vector<int32_t>> ends = {};
};

/// A reply and how good it is.
struct Beam {
  std::vector<int32_t> ids;  ///< without the prompt, and the token that ended it
  double score = 0;
  bool ended = false;  ///< by an end token; else by its length
};

/// Throws invalid_input naming the option that is out of range.
void check(const BeamOptions& options);

/// The best replies to a prompt, best first, by beam search as transformers has it (Wolf et al., "Transformers", 2020):
/// each step keeps the `beams` best continuations of all beams, and sets those aside that end. Throws invalid_input as
/// TokenGenerator::append does, and cancelled.
std::vector<Beam> search_beams(runner::Runner& runner, std::span<const int32_t> prompt, const BeamOptions& options,
                               const std::stop_token& stop = {});

}  // namespace salient::generate
