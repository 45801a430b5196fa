#include "evaluate/traffic_report.h"

#include <fmt/format.h>

#include <array>
#include <nlohmann/json.hpp>

#include "evaluate/speed_report.h"
#include "evaluate/table.h"

namespace salient::evaluate {

namespace {

/// A device and the bandwidth that its maker, or the standard of its memory, states: 10^9 bytes a second.
struct KnownDevice {
  const char* name;
  const char* memory;
  double gigabytes_per_second;
};

/// Bits of the bus times transfers a second. Laptops have the slower of their makers' options about as often as the
/// faster one.
constexpr std::array kKnownDevices = {
    KnownDevice{"Intel Iris Xe (laptop)", "128 bit, DDR4-3200", 51.2},
    KnownDevice{"AMD Radeon 780M (laptop)", "128 bit, DDR5-5600", 89.6},
    KnownDevice{"AMD Radeon 780M (laptop)", "128 bit, LPDDR5-6400", 102.4},
    KnownDevice{"Intel Arc 140V (laptop)", "128 bit, LPDDR5X-8533", 136.5},
    KnownDevice{"Qualcomm Adreno X1 (laptop)", "128 bit, LPDDR5X-8448", 135.2},
    KnownDevice{"NVIDIA GeForce GTX 1650", "128 bit, GDDR5 8 Gbit/s", 128.0},
    KnownDevice{"NVIDIA GeForce GTX 1060 6GB", "192 bit, GDDR5 8 Gbit/s", 192.0},
    KnownDevice{"AMD Radeon RX 6600", "128 bit, GDDR6 14 Gbit/s", 224.0},
    KnownDevice{"AMD Radeon RX 580", "256 bit, GDDR5 8 Gbit/s", 256.0},
    KnownDevice{"NVIDIA GeForce RTX 2070", "256 bit, GDDR6 14 Gbit/s", 448.0},
};

/// Of its published bandwidth, what decoding reaches: most published figures of llama.cpp's Vulkan runner are between a
/// fifth and four fifths of it (docs/gpu.md), and Salient has not run on any GPU.
constexpr double kLowShare = 0.2;
constexpr double kHighShare = 0.8;

double tokens_per_second(const KnownDevice& device, const TrafficCount& count, double share) {
  return device.gigabytes_per_second * 1e9 * share / static_cast<double>(count.bytes());
}

std::string megabytes(int64_t bytes) {
  return fmt::format("{:.1f}", static_cast<double>(bytes) / 1e6);
}

std::vector<std::string> count_line(const TrafficCount& count) {
  return {std::to_string(count.depth),  std::to_string(count.dispatches),
          megabytes(count.weights),     megabytes(count.read - count.weights),
          megabytes(count.written),     fmt::format("{:.2f} %", 100 * count.excess()),
          megabytes(count.cache),       megabytes(count.bytes()),
          std::to_string(count.to_host)};
}

std::string range(double low, double high) {
  return fmt::format("{:.1f} to {:.1f}", low, high);
}

}  // namespace

std::string format_traffic(const TrafficReport& report) {
  std::vector<std::vector<std::string>> lines = {{"depth", "dispatches", "MB weights", "MB read beside", "MB written",
                                                  "excess", "MB keys, values", "MB in all", "bytes to the host"}};
  for (const TrafficCount& count : report.counts) lines.push_back(count_line(count));
  std::string text = fmt::format("{} on {}: a token, from the commands recorded for it, which were not run\n\n{}",
                                 report.model, report.device, format_markdown(lines));
  std::vector<std::vector<std::string>> estimates = {{"estimate for", "memory", "GB/s, published"}};
  for (const TrafficCount& count : report.counts) {
    estimates[0].push_back(fmt::format("t/s at depth {}", count.depth));
    estimates[0].push_back("words/s");
  }
  for (const KnownDevice& device : kKnownDevices) {
    auto& line = estimates.emplace_back(
        std::vector<std::string>{device.name, device.memory, fmt::format("{:.1f}", device.gigabytes_per_second)});
    for (const TrafficCount& count : report.counts) {
      const double low = tokens_per_second(device, count, kLowShare);
      const double high = tokens_per_second(device, count, kHighShare);
      line.push_back(range(low, high));
      line.push_back(range(low * kWordsPerToken, high * kWordsPerToken));
    }
  }
  return text + fmt::format(
                    "excess: read beside the weights and written, of the weights\n\n{}\n"
                    "estimates, not measurements: if {:.0f} to {:.0f} % of the published bandwidth are used and each "
                    "dispatch costs nothing\n"
                    "words/s: at {} words a token, which is assumed; a reader takes in {} a second\n",
                    format_markdown(estimates), 100 * kLowShare, 100 * kHighShare, kWordsPerToken,
                    kReaderWordsPerSecond);
}

nlohmann::json to_json(const TrafficReport& report) {
  nlohmann::json counts = nlohmann::json::array();
  for (const TrafficCount& count : report.counts) {
    counts.push_back({{"depth", count.depth},
                      {"dispatches", count.dispatches},
                      {"weight_bytes", count.weights},
                      {"read_bytes", count.read},
                      {"written_bytes", count.written},
                      {"cache_bytes", count.cache},
                      {"bytes", count.bytes()},
                      {"to_host_bytes", count.to_host},
                      {"excess", count.excess()}});
  }
  nlohmann::json estimates = nlohmann::json::array();
  for (const KnownDevice& device : kKnownDevices) {
    for (const TrafficCount& count : report.counts) {
      estimates.push_back(
          {{"device", device.name},
           {"memory", device.memory},
           {"published_gigabytes_per_second", device.gigabytes_per_second},
           {"depth", count.depth},
           {"assumed_shares", {kLowShare, kHighShare}},
           {"estimated_tokens_per_second",
            {tokens_per_second(device, count, kLowShare), tokens_per_second(device, count, kHighShare)}},
           {"assumed_words_per_token", kWordsPerToken}});
    }
  }
  return {{"model", report.model},
          {"device", report.device},
          {"counts", std::move(counts)},
          {"estimates", std::move(estimates)}};
}

}  // namespace salient::evaluate
