#include "evaluate/report.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>

namespace salient::evaluate {
namespace {

ReportRow plain_row(const std::string& model, const std::string& data) {
  ReportRow row{model, "awq", "", data, find_recipe("paper"), {}};
  row.evaluation.windows = 2;
  row.evaluation.predictions = 4094;
  row.evaluation.seconds = 1.5;
  row.evaluation.model = {12.34567, 0.0625, {2.5, 2.25}};
  return row;
}

ReportRow compared_row(const std::string& model) {
  ReportRow row = plain_row(model, "wikitext2");
  row.base = "base-model";
  row.evaluation.has_base = true;
  row.evaluation.base = {12.0, 0.05, {2.4, 2.2}};
  row.evaluation.divergence = {0.03125, 0.0004, 0.875};
  return row;
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

/// In which columns a line has its bars, a character being one column.
std::vector<size_t> bars_of(const std::string& line) {
  std::vector<size_t> bars;
  size_t column = 0;
  for (const char c : line) {
    if (c == '|') bars.push_back(column);
    column += (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  }
  return bars;
}

TEST(FormatTable, SaysPerplexityAndStandardErrorUnderTheRecipe) {
  const std::string expected =
      "| model    | dataset   | perplexity | standard error | predictions |\n"
      "|----------|-----------|------------|----------------|-------------|\n"
      "| model-q4 | wikitext2 | 12.3457    | 0.0625         | 4094        |\n"
      "| m        | ptb       | 12.3457    | 0.0625         | 4094        |\n"
      "recipe " +
      find_recipe("paper").describe() + "\n";
  EXPECT_EQ(format_table({plain_row("model-q4", "wikitext2"), plain_row("m", "ptb")}), expected);
}

TEST(FormatTable, WithABaseAddsDifferenceDivergenceAndAgreement) {
  const auto lines = lines_of(format_table({compared_row("m")}));
  ASSERT_EQ(lines.size(), 4u);
  for (const char* column : {"base perplexity", "AWQ perplexity", "difference", "KL divergence", "same top-1"}) {
    EXPECT_NE(lines[0].find(column), std::string::npos) << column;
  }
  // 12.34567 - 12 = 0.34567, 2.88 % of 12.
  for (const char* cell :
       {"12.0000 ± 0.05", "12.3457 ± 0.06", "+0.3457 (+2.9 %)", "0.0312 ± 0.0004", "87.5 %", "4094"}) {
    EXPECT_NE(lines[2].find(cell), std::string::npos) << cell << " in " << lines[2];
  }
}

TEST(FormatTable, CountsCharactersNotBytes) {
  ReportRow narrow = compared_row("modèle-é");
  narrow.evaluation.base.perplexity = 5.0;
  const auto lines = lines_of(format_table({compared_row("m"), narrow}));
  ASSERT_EQ(lines.size(), 5u);
  ASSERT_EQ(bars_of(lines[0]).size(), 9u);
  for (int line = 1; line < 4; ++line) EXPECT_EQ(bars_of(lines[line]), bars_of(lines[0])) << lines[line];
}

TEST(FormatTable, IsEmptyWithoutRows) {
  EXPECT_EQ(format_table({}), "");
}

TEST(ReportJson, NamesModelDataPerplexityAndStandardError) {
  const auto array = to_json({plain_row("m", "ptb"), plain_row("n", "wikitext2")});
  ASSERT_TRUE(array.is_array());
  ASSERT_EQ(array.size(), 2u);
  const nlohmann::json expected = {{"model", "m"},
                                   {"data", "ptb"},
                                   {"recipe", "paper"},
                                   {"recipe_text", find_recipe("paper").describe()},
                                   {"window", 2048},
                                   {"stride", 2048},
                                   {"windows", 2},
                                   {"predictions", 4094},
                                   {"perplexity", 12.34567},
                                   {"standard_error", 0.0625},
                                   {"window_losses", {2.5, 2.25}},
                                   {"seconds", 1.5}};
  EXPECT_EQ(array[0], expected);
  EXPECT_EQ(array[1]["model"], "n");
}

TEST(ReportJson, WithABaseAddsItsFigures) {
  const auto row = to_json({compared_row("m")})[0];
  EXPECT_EQ(row["base"], "base-model");
  EXPECT_EQ(row["base_perplexity"], 12.0);
  EXPECT_EQ(row["base_window_losses"], (nlohmann::json{2.4, 2.2}));
  EXPECT_NEAR(row["difference"].get<double>(), 0.34567, 1e-9);
  EXPECT_EQ(row["kl_divergence"], 0.03125);
  EXPECT_EQ(row["kl_standard_error"], 0.0004);
  EXPECT_EQ(row["top1_agreement"], 0.875);
}

}  // namespace
}  // namespace salient::evaluate
