#pragma once

#include <vector>

#include "core/thread_pool.h"
#include "quantize/matrix.h"
#include "quantize/quadratic_form.h"
#include "quantize/rounding.h"

namespace salient::quantize {

/// Chooses the grid of each row and group by the error of the group alone, d H_gg d^T with the group's own block of
/// H: the clipping of AWQ (Lin et al., 2023), exact over all tokens, and with both ends of the range and the zero point
/// free. Candidates span a share of the group's negative and a share of its positive range (1, 0.9 ... 0.6 each, then
/// 0.05 around the best), then have their zero point moved by one and their scale refitted by least squares to the
/// codes. All are tried with the scale that fp16 holds. The result is [rows, groups].
std::vector<Grid> search_grids(const Matrix& weights, const GroupedForm& form, int group_size, core::ThreadPool& pool,
                               Zero zero = Zero::kFree);

}  // namespace salient::quantize
