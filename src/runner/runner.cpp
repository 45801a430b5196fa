#include "runner/runner.h"

#include "core/error.h"

namespace salient::runner {

std::vector<std::vector<TokenLogit>> Runner::top_logits(std::span<const TokenRun>, int64_t) {
  core::fail(core::ErrorKind::kUnsupported, "this runner gives all logits of a row or none");
}

std::vector<float> Runner::hidden_states(std::span<const TokenRun>) {
  core::fail(core::ErrorKind::kUnsupported, "hidden states, which embeddings are made of, are given on the CPU only");
}

}  // namespace salient::runner
