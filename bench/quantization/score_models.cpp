// Scores quantized models against the one they were made from, which runs once for all of them. Everything is computed in
// fp32. Prints the JSON of `salient perplexity`.

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "evaluate/perplexity.h"
#include "evaluate/report.h"
#include "evaluate/text_source.h"
#include "runner/cpu_runner.h"
#include "text/tokenizer.h"
#include "program.h"
#include "token_file.h"

namespace {

using namespace salient;

struct ScoredText {
  std::vector<int32_t> tokens;
  evaluate::Recipe recipe = evaluate::find_recipe("paper");
};

/// A file of token ids, whose lines are the windows, or a data set.
ScoredText read_text(const std::string& name, const std::filesystem::path& data_dir,
                     const checkpoint::Checkpoint& base) {
  ScoredText text;
  if (!name.ends_with(".ids")) {
    const text::Tokenizer tokenizer(base.tokenizer_json, base.path.string());
    text.tokens = tokenizer.encode(evaluate::load_text(name, data_dir, text.recipe, nullptr, {}).text, true);
    return text;
  }
  for (const auto& sequence : bench::read_token_file(name)) {
    text.recipe.window = text.recipe.stride = std::ssize(sequence);
    text.tokens.insert(text.tokens.end(), sequence.begin(), sequence.end());
  }
  return text;
}

std::unique_ptr<runner::CpuRunner> open_runner(const std::filesystem::path& path, core::ThreadPool& pool) {
  const auto decoder =
      std::make_shared<model::Decoder>(std::make_shared<checkpoint::Checkpoint>(checkpoint::open_checkpoint(path)));
  return std::make_unique<runner::CpuRunner>(
      decoder, pool,
      runner::CpuRunnerOptions{.activations = runner::Activations::kFp32, .kv_dtype = core::DType::kF32});
}

int run(int argc, char** argv) {
  CLI::App program("Scores quantized models against the one they were made from");
  std::filesystem::path base_path;
  std::vector<std::string> paths;
  std::vector<std::string> data;
  std::filesystem::path data_dir;
  int64_t limit = 0;
  program.add_option("BASE", base_path)->required();
  program.add_option("MODELS", paths)->required();
  program.add_option("--data", data, "wikitext2, ptb, or a file of token ids, a window a line")->required();
  program.add_option("--data-dir", data_dir);
  program.add_option("--limit", limit, "Windows at most; 0: all");
  CLI11_PARSE(program, argc, argv);
  core::ThreadPool pool;
  const auto base = open_runner(base_path, pool);
  std::vector<std::unique_ptr<runner::CpuRunner>> models;
  std::vector<runner::ModelRunner*> runners;
  for (const std::string& path : paths) runners.push_back(models.emplace_back(open_runner(path, pool)).get());
  std::vector<evaluate::ReportRow> rows;
  for (const std::string& name : data) {
    const ScoredText text = read_text(name, data_dir, base->decoder().checkpoint());
    const auto results = evaluate::evaluate(runners, base.get(), text.tokens, text.recipe, limit, -1, nullptr, {});
    for (size_t i = 0; i < paths.size(); ++i) {
      rows.push_back({paths[i], "", base_path.string(), name, text.recipe, results[i]});
    }
  }
  std::printf("%s\n", evaluate::to_json(rows).dump().c_str());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  return salient::bench::run_program("score_models", [&] { return run(argc, argv); });
}
