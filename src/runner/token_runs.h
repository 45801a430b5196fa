#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/decoder_spec.h"
#include "runner/runner.h"

namespace salient::runner {

// What every runner does with the runs of tokens it is given, whatever its device.

/// Throws invalid_input naming a token that is outside the vocabulary.
void check_tokens(const model::DecoderSpec& spec, std::span<const TokenRun> runs);

/// Puts a sequence into the rotary regime of its coming length. What it held in the other one is taken out of it and
/// returned, to be computed again; empty where nothing changes.
std::vector<int32_t> enter_regime(const model::DecoderSpec& spec, const TokenRun& run);

/// Does `work`, and returns what it returns. When it throws, sequences get back the length they had.
template <typename Work>
auto keep_lengths_on_failure(std::span<const TokenRun> runs, Work&& work) {
  std::vector<int64_t> lengths;
  for (const TokenRun& run : runs) lengths.push_back(run.sequence->length());
  try {
    return work();
  } catch (...) {
    for (size_t i = 0; i < runs.size(); ++i) runs[i].sequence->truncate(lengths[i]);
    throw;
  }
}

}  // namespace salient::runner
