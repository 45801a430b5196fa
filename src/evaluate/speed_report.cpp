#include "evaluate/speed_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <vector>

#include "core/progress.h"
#include "evaluate/statistics.h"
#include "evaluate/table.h"

namespace salient::evaluate {

namespace {

/// What a decoding test says about memory and about a reader.
struct DecodingRates {
  double gigabytes_per_second;
  double bandwidth_percent;
  double words_per_second;
};

DecodingRates rates_of(const SpeedTest& test) {
  const double tokens_per_second = statistics_of(test.tokens_per_second).mean;
  const double gigabytes_per_token = test.bytes_per_token / 1e9;
  std::vector<double> shares;
  for (size_t i = 0; i < test.tokens_per_second.size(); ++i) {
    const double bandwidth = std::max(test.bandwidth_before[i], test.bandwidth_after[i]);
    shares.push_back(100 * gigabytes_per_token * test.tokens_per_second[i] / bandwidth);
  }
  return {gigabytes_per_token * tokens_per_second, median_of(shares), tokens_per_second * kWordsPerToken};
}

std::vector<std::string> make_line(const SpeedReport& report, const SpeedTest& test) {
  const Statistics speed = statistics_of(test.tokens_per_second);
  std::vector<std::string> line = {report.model, core::format_bytes(static_cast<uint64_t>(report.weight_bytes)),
                                   std::to_string(report.threads), test.name,
                                   fmt::format("{:.2f} ± {:.2f}", speed.mean, speed.deviation)};
  if (test.prefill) {
    line.resize(line.size() + 4, "");
    return line;
  }
  const DecodingRates rates = rates_of(test);
  line.push_back(fmt::format("{:.1f}", test.bytes_per_token / 1e6));
  line.push_back(fmt::format("{:.1f}", rates.gigabytes_per_second));
  line.push_back(fmt::format("{:.0f} %", rates.bandwidth_percent));
  line.push_back(fmt::format("{:.1f}", rates.words_per_second));
  return line;
}

}  // namespace

std::string format_speed(const SpeedReport& report) {
  std::vector<std::vector<std::string>> lines = {
      {"model", "size", "threads", "test", "t/s", "MB read/token", "GB/s", "of bandwidth", "words/s"}};
  for (const SpeedTest& test : report.measurement.tests) lines.push_back(make_line(report, test));
  const Bandwidth& bandwidth = report.measurement.bandwidth;
  return format_markdown(lines) +
         fmt::format(
             "\n{}; {}; {}, {}\n"
             "t/s: mean ± standard deviation of {} repetitions on random tokens\n"
             "of bandwidth: of what the fastest sweep right before or after read, the median of the repetitions; {} "
             "sweeps over {} gave {:.1f} GB/s at best (median {:.1f}), {}\n"
             "MB read/token: the weights once, and the keys and values of the tokens before it\n"
             "words/s: at {} words a token, which is assumed; a reader takes in {} a second\n",
             report.cpu, report.device_description, report.format, report.arithmetic,
             report.measurement.tests.front().tokens_per_second.size(), bandwidth.sweeps.size(),
             core::format_bytes(static_cast<uint64_t>(bandwidth.bytes)), bandwidth.best(), median_of(bandwidth.sweeps),
             bandwidth.method, kWordsPerToken, kReaderWordsPerSecond);
}

nlohmann::json to_json(const SpeedReport& report) {
  const Bandwidth& bandwidth = report.measurement.bandwidth;
  nlohmann::json array = nlohmann::json::array();
  for (const SpeedTest& test : report.measurement.tests) {
    const Statistics speed = statistics_of(test.tokens_per_second);
    nlohmann::json object = {
        {"model", report.model},
        {"format", report.format},
        {"arithmetic", report.arithmetic},
        {"device", report.device},
        {"device_description", report.device_description},
        {"cpu", report.cpu},
        {"kernels", report.kernels},
        {"threads", report.threads},
        {"weight_bytes", report.weight_bytes},
        {"test", test.name},
        {"kind", test.prefill ? "prefill" : "decode"},
        {"tokens", test.tokens},
        {"depth", test.depth},
        {"repetitions", test.tokens_per_second.size()},
        {"tokens_per_second", speed.mean},
        {"deviation", speed.deviation},
        {"samples", test.tokens_per_second},
        {"bandwidth_best", bandwidth.best()},
        {"bandwidth_median", median_of(bandwidth.sweeps)},
        {"bandwidth_sweeps", bandwidth.sweeps.size()},
        {"bandwidth_bytes", bandwidth.bytes},
    };
    if (!test.prefill) {
      const DecodingRates rates = rates_of(test);
      object["bytes_per_token"] = test.bytes_per_token;
      object["gigabytes_per_second"] = rates.gigabytes_per_second;
      object["bandwidth_percent"] = rates.bandwidth_percent;
      object["bandwidth_before"] = test.bandwidth_before;
      object["bandwidth_after"] = test.bandwidth_after;
      object["words_per_second"] = rates.words_per_second;
      object["assumed_words_per_token"] = kWordsPerToken;
      object["reader_words_per_second"] = kReaderWordsPerSecond;
    }
    array.push_back(std::move(object));
  }
  return array;
}

}  // namespace salient::evaluate
