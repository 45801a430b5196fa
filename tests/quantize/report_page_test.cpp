#include "quantize/report_page.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace salient::quantize {
namespace {

nlohmann::json make_report() {
  const nlohmann::json step = {
      {"kind", "linear"}, {"part", "down"}, {"choice", "<rounded>"}, {"loss_before", 8.0}, {"loss_after", 2.0}};
  const nlohmann::json channels = {{"part", "mlp output"},
                                   {"inputs", 200},
                                   {"salient", 2},
                                   {"magnitudes", {4.0, 1.0, 0.5}},
                                   {"salient_error_before", 3.0},
                                   {"salient_error_after", 1.0},
                                   {"other_error_before", 1.0},
                                   {"other_error_after", 1.5}};
  const nlohmann::json inputs = {{"part", "mlp output"}, {"inputs", 200}, {"tokens", 4321}, {"effective_rank", 80.0}};
  const nlohmann::json weights = {{"part", "down"}, {"weights", {1, 2, 1}}, {"codes", {3, 1}}};
  return {{"output", "<b>&folder"},
          {"method", "awq+"},
          {"format", "awq"},
          {"group_size", 64},
          {"bytes", 1000},
          {"bytes_before", 4000},
          {"bytes_in_fp16", 4000},
          {"seconds", 1.0},
          {"layers", {{{"steps", {step}}, {"inputs", {inputs}}, {"channels", {channels}}, {"weights", {weights}}}}}};
}

TEST(ReportPageTest, SaysWhatTheSalientInputsAreAndWhatScalingBought) {
  const std::string page = make_report_page(make_report());
  EXPECT_NE(page.find("2 of 200 inputs are salient"), std::string::npos);
  EXPECT_NE(page.find("have 75.0 % of the error of plain rounding; scaled, 25.0 %"), std::string::npos);
  EXPECT_NE(page.find("go from 25.0 % to 37.5 %"), std::string::npos);
  EXPECT_NE(page.find("<td>25.0 %</td>"), std::string::npos);
}

TEST(ReportPageTest, IsWholeByItselfAndTakesNamesForText) {
  const std::string page = make_report_page(make_report());
  EXPECT_EQ(page.find("<b>"), std::string::npos);
  EXPECT_NE(page.find("&lt;b&gt;&amp;folder"), std::string::npos);
  EXPECT_NE(page.find("&lt;rounded&gt;"), std::string::npos);
  for (const char* reference : {"src=", "href=", "<script", "@import"})
    EXPECT_EQ(page.find(reference), std::string::npos);
}

TEST(ReportPageTest, DrawsSizesInPowersOfTen) {
  nlohmann::json report = make_report();
  report["layers"][0]["channels"][0]["magnitudes"] = {4.0, 0.04, 0.0};
  const std::string page = make_report_page(report);
  // From 10^-4 (0 is not drawn below a ten-thousandth of the largest) to 10, 180 pixels of five steps.
  for (const char* tick : {">0.0001<", ">0.01<", ">10<"}) EXPECT_NE(page.find(tick), std::string::npos) << tick;
  EXPECT_NE(page.find("points=\"44.0,40.3 378.0,112.3 712.0,206.0 \""), std::string::npos);
}

TEST(ReportPageTest, DrawsTheEffectiveRankOfInputsByLayer) {
  nlohmann::json report = make_report();
  report["layers"].push_back(report["layers"][0]);
  report["layers"][1]["inputs"][0]["effective_rank"] = 40.0;
  const std::string page = make_report_page(report);
  EXPECT_NE(page.find("4321 tokens"), std::string::npos);
  // From the top, which is the largest, at the left to the middle, (206 + 26) / 2, at the right.
  EXPECT_NE(page.find("points=\"44.0,26.0 712.0,116.0 \""), std::string::npos);
}

TEST(ReportPageTest, LeavesOutWhatPlainRoundingDoesNotKnow) {
  nlohmann::json report = make_report();
  report["layers"] = {{{"steps", nlohmann::json::array()},
                       {"inputs", nlohmann::json::array()},
                       {"channels", nlohmann::json::array()},
                       {"weights", report["layers"][0]["weights"]}}};
  const std::string page = make_report_page(report);
  EXPECT_EQ(page.find("Salient inputs"), std::string::npos);
  EXPECT_EQ(page.find("Error by layer"), std::string::npos);
  EXPECT_EQ(page.find("Calibration text"), std::string::npos);
  EXPECT_NE(page.find("codes 0 to 15"), std::string::npos);
}

}  // namespace
}  // namespace salient::quantize
