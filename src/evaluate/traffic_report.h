#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace salient::evaluate {

/// What decoding one token greedily moves through a GPU's memory.
struct TrafficCount {
  int64_t depth = 0;  ///< tokens before it
  int64_t dispatches = 0;
  int64_t weights = 0;  ///< bytes of the weights
  int64_t read = 0;     ///< bytes, weights included, keys and values not
  int64_t written = 0;  ///< bytes
  int64_t cache = 0;    ///< bytes of keys and values read
  int64_t to_host = 0;  ///< of the written: bytes that the host reads to choose the next token

  int64_t bytes() const { return read + written + cache; }
  /// Moved beside weights, keys and values, as a share of the weights.
  double excess() const { return static_cast<double>(read + written - weights) / static_cast<double>(weights); }
};

struct TrafficReport {
  std::string model;
  std::string device;  ///< whose limits decided how matrices are cut
  std::vector<TrafficCount> counts;
};

/// A table of what was counted, and one of what it allows devices whose makers publish their bandwidth: estimates.
std::string format_traffic(const TrafficReport& report);

/// An object with `counts`, as above, and `estimates`: for each device its published gigabytes_per_second, and
/// tokens_per_second at the share of it that decoding reaches.
nlohmann::json to_json(const TrafficReport& report);

}  // namespace salient::evaluate
