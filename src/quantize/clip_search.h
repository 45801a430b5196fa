#pragma once

#include <cstdint>
#include <vector>

#include "core/thread_pool.h"
#include "quantize/matrix.h"

namespace salient::quantize {

/// What the search found for one linear.
struct ClipChoice {
  std::vector<float> clips;   ///< [rows, groups], 0.55..1; empty when clipping did not pay
  double unclipped_loss = 0;  ///< of the whole linear, with the whole Gram matrix
  double loss = 0;            ///< of the choice
};

/// AWQ's clipping: for each row and group the share of its largest magnitude (1, 0.95 ... 0.55) beyond which weights
/// are cut off, so that the others get finer steps. A share is chosen by the error of the group alone, d H_gg d^T with
/// the group's own block of H, exact over all tokens; the whole linear keeps its clipping only if that lowers its whole
/// error.
ClipChoice search_clips(const Matrix& weights, const Matrix& gram, int group_size, core::ThreadPool& pool);

}  // namespace salient::quantize
