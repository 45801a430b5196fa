#include "evaluate/report.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "evaluate/table.h"

namespace salient::evaluate {

namespace {

using Line = std::vector<std::string>;

Line make_header(const ReportRow& row) {
  if (!row.evaluation.has_base) return {"model", "dataset", "perplexity", "standard error", "predictions"};
  const char* perplexity = row.format == "awq" ? "AWQ perplexity" : "model perplexity";
  return {"model",      "dataset",       "base perplexity", perplexity,
          "difference", "KL divergence", "same top-1",      "predictions"};
}

Line make_line(const ReportRow& row) {
  const Evaluation& e = row.evaluation;
  if (!e.has_base) {
    return {row.model, row.data, fmt::format("{:.4f}", e.model.perplexity),
            fmt::format("{:.4f}", e.model.standard_error), std::to_string(e.predictions)};
  }
  const double difference = e.model.perplexity - e.base.perplexity;
  return {row.model,
          row.data,
          fmt::format("{:.4f} ± {:.2f}", e.base.perplexity, e.base.standard_error),
          fmt::format("{:.4f} ± {:.2f}", e.model.perplexity, e.model.standard_error),
          fmt::format("{:+.4f} ({:+.1f} %)", difference, 100 * difference / e.base.perplexity),
          fmt::format("{:.4f} ± {:.4f}", e.divergence.mean_kl, e.divergence.standard_error),
          fmt::format("{:.1f} %", 100 * e.divergence.top1_agreement),
          std::to_string(e.predictions)};
}

}  // namespace

std::string format_table(const std::vector<ReportRow>& rows) {
  if (rows.empty()) return {};
  std::vector<Line> lines = {make_header(rows.front())};
  for (const ReportRow& row : rows) lines.push_back(make_line(row));
  return format_markdown(lines) + fmt::format("recipe {}\n", rows.front().recipe.describe());
}

nlohmann::json to_json(const std::vector<ReportRow>& rows) {
  nlohmann::json array = nlohmann::json::array();
  for (const ReportRow& row : rows) {
    const Evaluation& e = row.evaluation;
    nlohmann::json object = {
        {"model", row.model},
        {"data", row.data},
        {"recipe", row.recipe.name},
        {"recipe_text", row.recipe.describe()},
        {"window", row.recipe.window},
        {"stride", row.recipe.stride},
        {"windows", e.windows},
        {"predictions", e.predictions},
        {"perplexity", e.model.perplexity},
        {"standard_error", e.model.standard_error},
        {"window_losses", e.model.window_losses},
        {"seconds", e.seconds},
    };
    if (e.has_base) {
      object["base"] = row.base;
      object["base_perplexity"] = e.base.perplexity;
      object["base_window_losses"] = e.base.window_losses;
      object["difference"] = e.model.perplexity - e.base.perplexity;
      object["kl_divergence"] = e.divergence.mean_kl;
      object["kl_standard_error"] = e.divergence.standard_error;
      object["top1_agreement"] = e.divergence.top1_agreement;
    }
    array.push_back(std::move(object));
  }
  return array;
}

}  // namespace salient::evaluate
