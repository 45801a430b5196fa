#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "evaluate/speed.h"

namespace salient::evaluate {

/// Words a second that a person reads, at about 300 a minute.
inline constexpr double kReaderWordsPerSecond = 5;
/// Of English, in the vocabularies of today's models; assumed, not measured.
inline constexpr double kWordsPerToken = 0.75;

/// A measurement, and of what.
struct SpeedReport {
  std::string model;
  std::string format;              ///< of the checkpoint
  std::string arithmetic;          ///< "int4 in groups of 128, int8 activations"
  std::string device = "cpu";      ///< as --device names it
  std::string device_description;  ///< "avx512vnni kernels, 2 threads"
  std::string cpu;
  std::string kernels;       ///< of the CPU
  int threads = 0;           ///< of the CPU
  int64_t weight_bytes = 0;  ///< read for each token
  SpeedMeasurement measurement;
};

/// A markdown table with a line for each test, and below it what the columns rest on.
std::string format_speed(const SpeedReport& report);

/// An array of objects, one for each test, each with everything that is known of it: test, tokens_per_second,
/// deviation, samples, threads, ...; those of decoding with bytes_per_token, gigabytes_per_second, bandwidth_percent
/// and words_per_second.
nlohmann::json to_json(const SpeedReport& report);

}  // namespace salient::evaluate
