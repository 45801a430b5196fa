#pragma once

#include <cstdint>
#include <stop_token>
#include <vector>

#include "core/progress.h"
#include "runner/runner.h"

namespace salient::generate {

/// Text the model writes by itself, for calibration where no other is given.
struct SelfTextOptions {
  int64_t sequences = 48;
  int64_t tokens = 512;  ///< of each sequence
  uint64_t seed = 0;
  /// What sequences 0, 2, 4, ... start with: the model's beginning-of-sequence token. The others start with a random
  /// token, as in LLM-QAT (Liu et al., 2023), which keeps them from being all alike.
  int32_t first_token = 0;
};

/// Samples all sequences in one batch at temperature 1, through ends of sequence, to their full length.
std::vector<std::vector<int32_t>> write_self_text(runner::Runner& runner, const SelfTextOptions& options,
                                                  const core::ProgressCallback& progress, std::stop_token stop = {});

}  // namespace salient::generate
