#include "evaluate/perplexity.h"

#include <fmt/format.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/model.h"
#include "cli/scoring.h"
#include "core/error.h"
#include "evaluate/report.h"
#include "evaluate/text_source.h"

namespace salient::cli {

namespace {

struct Flags {
  RunFlags run;
  PrecisionFlags precision;
  std::vector<std::string> data = {"wikitext2"};
  std::filesystem::path data_dir;
  std::filesystem::path base;
  std::string recipe = "paper";
  int64_t window = 0;
  int64_t stride = 0;
  int64_t limit = 0;
  bool exact = false;
  bool json = false;
};

evaluate::Recipe make_recipe(const Flags& flags) {
  evaluate::Recipe recipe = evaluate::find_recipe(flags.recipe);
  const bool overlapping = recipe.stride != recipe.window;
  if (flags.window > 0) recipe.window = flags.window;
  if (flags.stride > 0) {
    recipe.stride = flags.stride;
  } else if (flags.window > 0) {
    recipe.stride = overlapping ? recipe.window / 2 : recipe.window;
  }
  return recipe;
}

/// The tokens of a named data set, of a file, or (data set "self") of text that `writer` samples by itself.
std::vector<int32_t> read_tokens(const std::string& name, const Flags& flags, const evaluate::Recipe& recipe,
                                 runner::CpuRunner& writer, const text::Tokenizer& tokenizer,
                                 const std::stop_token& stop, std::string& label) {
  if (name != "self") {
    const auto text = evaluate::load_text(name, flags.data_dir, recipe, show_progress(), stop);
    label = text.name;
    return tokenizer.encode(text.text, true);
  }
  label = "self-written";
  return write_scoring_text(writer, flags.limit > 0 ? flags.limit : 16, recipe.window, stop);
}

void run(const Flags& flags) {
  const Interrupt interrupt;
  const evaluate::Recipe recipe = make_recipe(flags);
  core::ThreadPool pool(flags.run.threads);
  const runner::CpuRunnerOptions base_options = flags.exact ? kExactOptions : runner::CpuRunnerOptions();
  runner::CpuRunnerOptions options = base_options;
  flags.precision.apply_to(options);
  const auto model = make_scoring_runner(flags.run.model, options, pool, interrupt.token());
  const auto base =
      flags.base.empty() ? nullptr : make_scoring_runner(flags.base, base_options, pool, interrupt.token());
  evaluate::check_window(*model, recipe);
  if (base) evaluate::check_window(*base, recipe);
  const text::Tokenizer tokenizer = open_tokenizer(model->decoder().checkpoint());
  const int32_t bos = recipe.bos_replaces_first_token ? begin_of_sequence(model->decoder()).value_or(-1) : -1;
  std::vector<evaluate::ReportRow> rows;
  for (const std::string& name : flags.data) {
    std::string label;
    const auto tokens = read_tokens(name, flags, recipe, base ? *base : *model, tokenizer, interrupt.token(), label);
    if (tokens.empty()) core::fail(core::ErrorKind::kInvalidInput, "{}: holds no text", name);
    rows.push_back(
        {flags.run.model.string(), model->decoder().checkpoint().format, flags.base.string(), label, recipe,
         evaluate::evaluate(*model, base.get(), tokens, recipe, flags.limit, bos, show_progress(), interrupt.token())});
  }
  if (flags.json) {
    print_json(evaluate::to_json(rows));
  } else {
    fmt::print("{}", evaluate::format_table(rows));
  }
}

}  // namespace

void add_perplexity(CLI::App& program) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command =
      program.add_subcommand("perplexity", "Measure how well a model predicts text, alone or against its base");
  flags->run.add_to(*command);
  flags->precision.add_to(*command);
  add_option(*command, "--data", flags->data,
             "wikitext2, ptb, a text file, or self: text the base writes by itself; repeatable")
      ->allow_extra_args(false);
  add_option(*command, "--data-dir", flags->data_dir,
             "Folder with wiki.test.raw and ptb.test.txt; else they are downloaded once");
  add_option(*command, "--base", flags->base,
             "The model before quantization: adds difference, KL divergence, agreement. It runs without --head and "
             "--kv-cache, so that the model as its own base shows what these cost");
  add_option(*command, "--recipe", flags->recipe, "paper, sliding, llama.cpp or short");
  add_option(*command, "--window", flags->window, "Tokens a window, instead of the recipe's")->check(at_least(0));
  add_option(*command, "--stride", flags->stride, "Tokens between windows, instead of the recipe's")
      ->check(at_least(0));
  add_option(*command, "--limit", flags->limit, "Windows at most; 0: all")->check(at_least(0));
  add_flag(*command, "--exact", flags->exact,
           "Keep activations, and keys and values but for --kv-cache int8, in fp32 instead of int8 and fp16");
  add_flag(*command, "--json", flags->json, "Print JSON with the loss of every window");
  command->callback([flags] { run(*flags); });
}

}  // namespace salient::cli
