#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <vector>

#include "core/quantized_tensor.h"
#include "quantize/scale_search.h"

namespace salient::quantize {

/// How much calibration text told of the inputs of a place.
struct InputReport {
  std::string part;  ///< as in SearchReport
  int64_t inputs = 0;
  int64_t tokens = 0;
  double effective_rank = 0;  ///< of their Gram matrix
};

/// What the inputs of a scale group look like, and what scaling does for the 1 % of them that are largest on average,
/// which AWQ calls salient. The error of an input is its diagonal element of H times the squared error that plain
/// rounding makes of its weights.
struct ChannelReport {
  std::string part;  ///< as in SearchReport
  int64_t inputs = 0;
  int64_t salient = 0;              ///< 1 % of them, at least one
  std::vector<float> magnitudes;    ///< mean |x| from the largest input to the smallest, at most kCurvePoints of them
  double salient_error_before = 0;  ///< of rounding unscaled weights
  double salient_error_after = 0;   ///< of rounding scaled ones
  double other_error_before = 0;    ///< of all other inputs
  double other_error_after = 0;

  static constexpr int kCurvePoints = 65;
};

ChannelReport report_channels(const std::string& part, const ScaleGroup& group, std::span<const float> scales,
                              int group_size, core::ThreadPool& pool);

/// How a linear's weights are spread, and the codes that they became.
struct WeightReport {
  std::string part;
  std::vector<int64_t> weights;  ///< counts of kBins equal parts of -1 to 1, a weight relative to its group's largest
  std::vector<int64_t> codes;    ///< counts of 0 to 15

  static constexpr int kBins = 33;
};

/// The spread of the weights; the codes are still to be counted.
WeightReport report_weights(const std::string& part, const Matrix& weights, int group_size);
void count_codes(const core::QuantizedTensor& quantized, WeightReport& report);

nlohmann::json to_json(const InputReport& report);
nlohmann::json to_json(const ChannelReport& report);
nlohmann::json to_json(const WeightReport& report);

}  // namespace salient::quantize
