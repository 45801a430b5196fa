#pragma once

#include <vector>

namespace salient::evaluate {

/// What a sample says of the quantity it was drawn from.
struct Statistics {
  double mean = 0;
  double deviation = 0;       ///< with n - 1; 0 for a single value
  double standard_error = 0;  ///< of the mean: deviation / sqrt(n)
};

/// Of one value or more.
Statistics statistics_of(const std::vector<double>& values);

/// The middle value, or the mean of the two in the middle; of one value or more.
double median_of(std::vector<double> values);

}  // namespace salient::evaluate
