#pragma once

#include <cstdint>
#include <numeric>

#include "core/thread_pool.h"
#include "model/decoder_spec.h"
#include "quantize/stage_times.h"
#include "quantize/steps.h"

namespace salient::quantize {

/// What a run will take, from shapes alone.
struct Estimate {
  uint64_t bytes = 0;   ///< of the tensors written
  uint64_t memory = 0;  ///< at its peak, beside the mapped checkpoint
  ByStage flop{};

  double total_flop() const { return std::accumulate(flop.begin(), flop.end(), 0.0); }
};

/// Counts products of matrices, two operations for a multiply-add; all else is small beside them. `sequences` x
/// `tokens` is the calibration text.
Estimate estimate(const model::DecoderSpec& spec, int group_size, const Steps& steps, int64_t sequences,
                  int64_t tokens);

/// Operations a second of this machine's fp32 products of matrices, measured in a moment.
double measure_rate(core::ThreadPool& pool);

}  // namespace salient::quantize
