#pragma once

#include <cstdint>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "core/progress.h"
#include "evaluate/recipe.h"
#include "runner/model_runner.h"

namespace salient::evaluate {

/// How well a model predicts a text.
struct Perplexity {
  double perplexity = 0;
  /// Of the perplexity, from the spread of single predictions taken as independent.
  double standard_error = 0;
  std::vector<double> window_losses;  ///< mean negative log-likelihood of each window, in nats
};

/// How far a model's predictions are from its base's, at the same positions.
struct Divergence {
  double mean_kl = 0;         ///< KL(base || model), nats
  double standard_error = 0;  ///< of mean_kl
  double top1_agreement = 0;  ///< share of positions where both find the same token most likely
};

struct Evaluation {
  int64_t windows = 0;
  int64_t predictions = 0;
  double seconds = 0;
  Perplexity model;
  bool has_base = false;
  Perplexity base;
  Divergence divergence;
};

/// Throws invalid_input when the recipe's windows are longer than the model's context.
void check_window(const runner::ModelRunner& model, const Recipe& recipe);

/// Scores `tokens` in windows. A resident runner takes one window after the other; a streamed CPU runner takes all
/// windows through each layer, so each weight is read once: the figures are the same bits. With `base`, both models see
/// the same windows. `replace_first_token` of 0 or more puts that token at each window's start. Throws invalid_input
/// when a window is longer than a model's context, a token is outside a vocabulary, or the models' vocabularies differ.
Evaluation evaluate(runner::ModelRunner& model, runner::ModelRunner* base, std::span<const int32_t> tokens,
                    const Recipe& recipe, int64_t limit, int32_t replace_first_token,
                    const core::ProgressCallback& progress, std::stop_token stop);

/// The same of several models at once, in their order: what is asked of the base is computed once. Resident models all
/// take a window before the next; `seconds` are those of all.
std::vector<Evaluation> evaluate(std::span<runner::ModelRunner* const> models, runner::ModelRunner* base,
                                 std::span<const int32_t> tokens, const Recipe& recipe, int64_t limit,
                                 int32_t replace_first_token, const core::ProgressCallback& progress,
                                 std::stop_token stop);

}  // namespace salient::evaluate
