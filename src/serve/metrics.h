#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "generate/scheduler.h"

namespace salient::serve {

/// A Prometheus histogram of seconds.
class Histogram {
 public:
  static constexpr std::array<double, 14> kBounds = {0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60};
  void count(double seconds);
  /// The lines of the text format, with this name.
  std::string text(const std::string& name) const;

 private:
  std::array<uint64_t, kBounds.size() + 1> counts_{};
  double sum_ = 0;
};

/// What a model has to do, for /metrics.
struct ModelLoad {
  std::string name;
  generate::SchedulerStatus status;
  uint64_t weight_bytes = 0;  ///< read by all steps so far
};

/// What the server has done, in the text format of Prometheus. Any thread may count.
class Metrics {
 public:
  void count_request(int status);
  void count_first_token(double seconds);
  void count_token(double seconds);
  void count_reply(double seconds, const char* finish);
  std::string text(const std::vector<ModelLoad>& models) const;

 private:
  mutable std::mutex mutex_;
  std::map<int, uint64_t> requests_;
  std::map<std::string, uint64_t> replies_;
  Histogram first_token_;
  Histogram between_tokens_;
  Histogram reply_;
};

}  // namespace salient::serve
