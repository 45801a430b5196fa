#pragma once

#include <cstdint>
#include <stop_token>
#include <string>
#include <vector>

#include "core/progress.h"
#include "evaluate/bandwidth.h"
#include "runner/model_runner.h"

namespace salient::evaluate {

struct SpeedOptions {
  int64_t prompt_tokens = 512;    ///< 0: prefill is not measured
  int64_t generate_tokens = 128;  ///< 0: decoding is not measured
  int64_t depth = 4096;           ///< tokens before those that are decoded in a second test; 0: there is none
  int64_t repetitions = 5;
};

/// One thing that is measured, named as llama-bench names it: "pp512", "tg128", "tg128 @ d4096".
struct SpeedTest {
  std::string name;
  bool prefill = false;  ///< all tokens in one pass; else one after the other
  int64_t tokens = 0;
  int64_t depth = 0;                      ///< tokens that are in the sequence before
  double bytes_per_token = 0;             ///< of weights, keys and values, read to decode one; 0 for prefill
  std::vector<double> tokens_per_second;  ///< of each repetition
  /// What memory gave right before and right after each repetition, the fastest sweep of each: 10^9 bytes a second.
  /// Empty for prefill.
  std::vector<double> bandwidth_before = {};
  std::vector<double> bandwidth_after = {};
};

/// What memory gave in the same run.
struct Bandwidth {
  int64_t bytes = 0;           ///< that each sweep read
  std::string method;          ///< how
  std::vector<double> sweeps;  ///< 10^9 bytes a second

  /// The fastest sweep: what the machine can do.
  double best() const;
};

struct SpeedMeasurement {
  std::vector<SpeedTest> tests;
  Bandwidth bandwidth;
};

/// Throws invalid_input when there is nothing to measure, or the model's context cannot hold it.
void check_speed_options(const model::DecoderSpec& spec, const SpeedOptions& options, const std::string& origin);

/// Times a resident runner on random tokens. Each repetition measures every test once, and memory before and after each
/// that decodes, so that what disturbs the machine for a while disturbs all of them; a round before them that is not
/// counted warms up. `memory` is that of the runner's device.
/// Throws what check_speed_options does, and cancelled.
SpeedMeasurement measure_speed(runner::ModelRunner& runner, MemoryProbe& memory, const SpeedOptions& options,
                               const core::ProgressCallback& progress, std::stop_token stop);

}  // namespace salient::evaluate
