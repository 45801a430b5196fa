#include "quantize/channel_report.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>

namespace salient::quantize {

ChannelReport report_channels(const std::string& part, const ScaleGroup& group, std::span<const float> scales,
                              int group_size, core::ThreadPool& pool) {
  const auto inputs = std::ssize(group.mean_magnitudes);
  std::vector<int64_t> order(static_cast<size_t>(inputs));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return group.mean_magnitudes[a] > group.mean_magnitudes[b]; });
  ChannelReport report;
  report.part = part;
  report.inputs = inputs;
  report.salient = std::max<int64_t>(inputs / 100, 1);
  const int64_t points = std::min<int64_t>(ChannelReport::kCurvePoints, inputs);
  for (int64_t i = 0; i < points; ++i) {
    const int64_t rank = points > 1 ? i * (inputs - 1) / (points - 1) : 0;
    report.magnitudes.push_back(group.mean_magnitudes[order[rank]]);
  }
  const std::vector<float> unscaled(static_cast<size_t>(inputs), 1.0f);
  const std::vector<double> before = rounding_loss_by_input(group, unscaled, group_size, pool);
  const std::vector<double> after = rounding_loss_by_input(group, scales, group_size, pool);
  for (int64_t i = 0; i < inputs; ++i) {
    const bool salient = i < report.salient;
    (salient ? report.salient_error_before : report.other_error_before) += before[order[i]];
    (salient ? report.salient_error_after : report.other_error_after) += after[order[i]];
  }
  return report;
}

WeightReport report_weights(const std::string& part, const Matrix& weights, int group_size) {
  WeightReport report{part, std::vector<int64_t>(WeightReport::kBins), std::vector<int64_t>(16)};
  const int64_t count = weights.rows * weights.columns;
  for (int64_t first = 0; first < count; first += group_size) {
    float largest = 0;
    for (int64_t i = first; i < first + group_size; ++i) largest = std::max(largest, std::fabs(weights.values[i]));
    for (int64_t i = first; i < first + group_size; ++i) {
      const float relative = largest > 0 ? weights.values[i] / largest : 0;
      const auto bin = static_cast<int>((relative + 1) / 2 * WeightReport::kBins);
      ++report.weights[std::clamp(bin, 0, WeightReport::kBins - 1)];
    }
  }
  return report;
}

void count_codes(const core::QuantizedTensor& quantized, WeightReport& report) {
  for (const uint8_t code : quantized.codes) ++report.codes[code];
}

nlohmann::json to_json(const InputReport& report) {
  return {{"part", report.part},
          {"inputs", report.inputs},
          {"tokens", report.tokens},
          {"effective_rank", report.effective_rank}};
}

nlohmann::json to_json(const ChannelReport& report) {
  return {{"part", report.part},
          {"inputs", report.inputs},
          {"salient", report.salient},
          {"magnitudes", report.magnitudes},
          {"salient_error_before", report.salient_error_before},
          {"salient_error_after", report.salient_error_after},
          {"other_error_before", report.other_error_before},
          {"other_error_after", report.other_error_after}};
}

nlohmann::json to_json(const WeightReport& report) {
  return {{"part", report.part}, {"weights", report.weights}, {"codes", report.codes}};
}

}  // namespace salient::quantize
