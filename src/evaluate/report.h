#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "evaluate/perplexity.h"

namespace salient::evaluate {

/// One line of a perplexity table.
struct ReportRow {
  std::string model;
  std::string format;  ///< of the model: "awq", "safetensors", ...
  std::string base;    ///< empty without one
  std::string data;
  Recipe recipe;
  Evaluation evaluation;
};

/// The rows as aligned text: perplexity and its standard error; with a base, the table model, dataset, base perplexity,
/// perplexity, difference, KL divergence and top-1 agreement. The recipe follows.
std::string format_table(const std::vector<ReportRow>& rows);

/// The rows as a JSON array of objects with model, data, recipe, perplexity, standard_error, window_losses, ...
nlohmann::json to_json(const std::vector<ReportRow>& rows);

}  // namespace salient::evaluate
