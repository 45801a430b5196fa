#include "evaluate/perplexity.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "api/json_text.h"
#include "api/run_options.h"
#include "api/scoring.h"
#include "core/error.h"
#include "evaluate/report.h"
#include "evaluate/text_source.h"

namespace salient {

namespace {

evaluate::Recipe make_recipe(const PerplexityOptions& options) {
  evaluate::Recipe recipe = evaluate::find_recipe(options.recipe);
  const bool overlapping = recipe.stride != recipe.window;
  if (options.window > 0) recipe.window = options.window;
  if (options.stride > 0) {
    recipe.stride = options.stride;
  } else if (options.window > 0) {
    recipe.stride = overlapping ? recipe.window / 2 : recipe.window;
  }
  return recipe;
}

/// The tokens of a named data set, of a file, or (data set "self") of text that `writer` samples by itself.
std::vector<int32_t> read_tokens(const std::string& name, const PerplexityOptions& options,
                                 const evaluate::Recipe& recipe, runner::ModelRunner& writer,
                                 const text::Tokenizer& tokenizer, const Monitor& monitor, std::string& label) {
  if (name != "self") {
    const auto text = evaluate::load_text(name, options.data_dir, recipe, monitor.on_progress, monitor.stop);
    label = text.name;
    return tokenizer.encode(text.text, true);
  }
  label = "self-written";
  return api::write_scoring_text(writer, options.limit > 0 ? options.limit : 16, recipe.window, monitor);
}

PerplexityResult summarize(const evaluate::ReportRow& row) {
  const evaluate::Evaluation& evaluation = row.evaluation;
  PerplexityResult result{row.data, evaluation.model.perplexity, evaluation.model.standard_error, {}, {}, {}};
  if (evaluation.has_base) {
    result.base_perplexity = evaluation.base.perplexity;
    result.kl_divergence = evaluation.divergence.mean_kl;
    result.top1_agreement = evaluation.divergence.top1_agreement;
  }
  return result;
}

}  // namespace

PerplexityReport v1::measure_perplexity(const ModelName& name, const PerplexityOptions& options,
                                        const Monitor& monitor) {
  const evaluate::Recipe recipe = make_recipe(options);
  core::ThreadPool pool(api::checked_threads(options.model.threads));
  device::RunnerOptions model_options = api::runner_options(options.model, {});
  model_options.exact = options.exact;
  const auto model = api::make_scoring_runner(name, model_options, pool, monitor);
  const auto base =
      options.base.empty() ? nullptr : api::make_scoring_runner(options.base, {.exact = options.exact}, pool, monitor);
  evaluate::check_window(*model, recipe);
  if (base) evaluate::check_window(*base, recipe);
  const text::Tokenizer tokenizer = api::open_tokenizer(model->decoder().checkpoint());
  const int32_t bos = recipe.bos_replaces_first_token ? api::begin_of_sequence(model->decoder()).value_or(-1) : -1;
  std::vector<evaluate::ReportRow> rows;
  for (const std::string& data : options.data) {
    std::string label;
    const auto tokens = read_tokens(data, options, recipe, base ? *base : *model, tokenizer, monitor, label);
    if (tokens.empty()) core::fail(core::ErrorKind::kInvalidInput, "{}: holds no text", data);
    rows.push_back({name.string(), model->decoder().checkpoint().format, options.base.string(), label, recipe,
                    evaluate::evaluate(*model, base.get(), tokens, recipe, options.limit, bos, monitor.on_progress,
                                       monitor.stop)});
  }
  PerplexityReport report;
  report.json = api::to_text(evaluate::to_json(rows));
  report.text = evaluate::format_table(rows);
  for (const evaluate::ReportRow& row : rows) report.results.push_back(summarize(row));
  return report;
}

}  // namespace salient
