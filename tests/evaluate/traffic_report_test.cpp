#include "evaluate/traffic_report.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace salient::evaluate {
namespace {

/// 2 GB of weights; a hundredth of that is read beside them and as much written.
TrafficReport made_up_report() {
  return {"model", "device", {{0, 419, 2'000'000'000, 2'020'000'000, 20'000'000, 8'000'000, 128}}};
}

TEST(TrafficReport, SaysHowMuchIsMovedBesideTheWeights) {
  const nlohmann::json json = to_json(made_up_report());
  EXPECT_EQ(json["counts"][0]["bytes"], 2'048'000'000);
  EXPECT_DOUBLE_EQ(json["counts"][0]["excess"], 0.02);
  EXPECT_EQ(json["counts"][0]["to_host_bytes"], 128);
  for (const auto& estimate : json["estimates"]) {
    const double published = estimate["published_gigabytes_per_second"];
    const double at_most = estimate["estimated_tokens_per_second"][1];
    EXPECT_NEAR(at_most, estimate["assumed_shares"][1].get<double>() * published / 2.048, 1e-9);
  }
}

TEST(TrafficReport, CallsEstimatesSo) {
  const std::string text = format_traffic(made_up_report());
  for (const char* part : {"which were not run", "| 0     | 419        | 2000.0     | 20.0", "2.00 %", "| 128 ",
                           "estimates, not measurements", "published", "is assumed"}) {
    EXPECT_NE(text.find(part), std::string::npos) << part << " is not in\n" << text;
  }
}

}  // namespace
}  // namespace salient::evaluate
