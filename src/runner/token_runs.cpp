#include "runner/token_runs.h"

#include <algorithm>

#include "core/error.h"

namespace salient::runner {

void check_tokens(const model::DecoderSpec& spec, std::span<const TokenRun> runs) {
  for (const TokenRun& run : runs) {
    for (const int32_t token : run.tokens) {
      if (token >= 0 && token < spec.vocab_size) continue;
      core::fail(core::ErrorKind::kInvalidInput, "token {} is outside the model's vocabulary of {}", token,
                 spec.vocab_size);
    }
  }
}

std::vector<int32_t> enter_regime(const model::DecoderSpec& spec, const TokenRun& run) {
  Sequence& sequence = *run.sequence;
  const bool is_long = spec.is_long(std::max(run.final_length, sequence.length() + std::ssize(run.tokens)));
  if (is_long == sequence.long_rope()) return {};
  std::vector<int32_t> history = sequence.history();
  sequence.truncate(0);
  sequence.set_long_rope(is_long);
  return history;
}

}  // namespace salient::runner
