// How well what is fitted to one text does on another: quantizes some layers with many settings of the steps on the first
// text, and prints the squared error of the linears' outputs on each text, relative to that of plain rounding of the
// scaled weights (the geometric mean over linears and layers). Cheap, where a whole model and its perplexity are not.

#include <CLI/CLI.hpp>
#include <cmath>
#include <cstdio>
#include <memory>

#include "quantize/calibration_pass.h"
#include "quantize/cholesky.h"
#include "quantize/compensation.h"
#include "quantize/coordinate_descent.h"
#include "quantize/grid_search.h"
#include "quantize/rounding.h"
#include "program.h"
#include "token_file.h"

namespace {

using namespace salient;
using namespace salient::quantize;
using runner::LinearInput;

using Texts = std::vector<std::vector<std::vector<int32_t>>>;

struct Setting {
  float shrinkage;
  float damping;
  bool compensate;
  int sweeps;
};

/// What the columns of `scaled` were multiplied by.
std::vector<float> scales_between(const Matrix& original, const Matrix& scaled) {
  std::vector<float> scales(static_cast<size_t>(original.columns), 1.0f);
  for (int64_t i = 0; i < original.columns; ++i) {
    int64_t row = 0;
    for (int64_t r = 0; r < original.rows; ++r) {
      if (std::fabs(original.row(r)[i]) > std::fabs(original.row(row)[i])) row = r;
    }
    if (original.row(row)[i] != 0) scales[i] = scaled.row(row)[i] / original.row(row)[i];
  }
  return scales;
}

core::QuantizedTensor quantize_linear(const Matrix& weights, Matrix gram, const Setting& setting, int group_size,
                                      core::ThreadPool& pool) {
  regularize_gram(gram, setting.shrinkage, setting.damping);
  const GroupedForm form(std::move(gram), group_size, pool);
  const std::vector<Grid> grids = search_grids(weights, form, group_size, pool);
  if (!setting.compensate) return round_matrix(weights, group_size, grids, pool);
  const DampedFactor factor = factor_gram(form.gram, 1e-6f, pool);
  core::QuantizedTensor result = compensate(weights, factor, grids, group_size, pool);
  if (setting.sweeps > 0) descend(weights, form, setting.sweeps, result, pool);
  return result;
}

class Comparison {
 public:
  Comparison(std::vector<Setting> settings, int group_size, core::ThreadPool& pool)
      : settings_(std::move(settings)), group_size_(group_size), pool_(pool) {}

  /// Fits to the first of the statistics.
  void add(const model::DecoderSpec& spec, const model::DecoderLayer& decoder_layer,
           const std::vector<LayerStatistics>& statistics) {
    DenseLayer original(decoder_layer, pool_);
    DenseLayer scaled = original;
    Steps steps;
    steps.scale = true;
    StageTimes times;
    search_layer(scaled, statistics.front(), spec, group_size_, steps, times, pool_);
    add_linear(original.query, scaled.query, LinearInput::kAttention, statistics);
    add_linear(original.output, scaled.output, LinearInput::kOutput, statistics);
    add_linear(original.gate, scaled.gate, LinearInput::kMlp, statistics);
    add_linear(original.down, scaled.down, LinearInput::kDown, statistics);
  }

  void print() const {
    for (size_t i = 0; i < settings_.size(); ++i) {
      const Setting& s = settings_[i];
      std::printf("shrinkage %-5g damping %-6g compensation %d sweeps %d:", s.shrinkage, s.damping, s.compensate,
                  s.sweeps);
      for (const double sum : sums_[i]) std::printf("  %.3f", std::exp(sum / count_));
      std::printf("\n");
    }
    std::fflush(stdout);
  }

 private:
  void add_linear(const DenseLinear& original, const DenseLinear& linear, LinearInput place,
                  const std::vector<LayerStatistics>& statistics) {
    const std::vector<float> scales = scales_between(original.weights, linear.weights);
    std::vector<Matrix> grams;
    std::vector<QuadraticForm> forms;
    for (const LayerStatistics& text : statistics) {
      grams.push_back(text.at(place).gram());
      divide_gram(grams.back(), scales, pool_);
      forms.emplace_back(grams.back(), pool_);
    }
    const auto plain = round_matrix(linear.weights, group_size_, plain_grids(linear.weights, group_size_, pool_), pool_);
    sums_.resize(settings_.size(), std::vector<double>(statistics.size()));
    ++count_;
    for (size_t i = 0; i < settings_.size(); ++i) {
      const auto rounded = quantize_linear(linear.weights, grams.front(), settings_[i], group_size_, pool_);
      for (size_t t = 0; t < forms.size(); ++t) {
        sums_[i][t] += std::log(output_error(linear.weights, rounded, forms[t], pool_) /
                                output_error(linear.weights, plain, forms[t], pool_));
      }
    }
  }

  std::vector<Setting> settings_;
  int group_size_;
  core::ThreadPool& pool_;
  std::vector<std::vector<double>> sums_;
  int count_ = 0;
};

std::vector<Setting> settings_to_try() {
  std::vector<Setting> settings = {{0, 0, false, 0}};
  for (const float shrinkage : {0.0f, 0.2f, 0.4f, 0.6f}) {
    for (const float damping : {0.01f, 0.1f, 0.4f}) {
      for (const int sweeps : {0, 4}) settings.push_back({shrinkage, damping, true, sweeps});
    }
  }
  return settings;
}

int run(int argc, char** argv) {
  CLI::App program("How well what is fitted to the first text does on the others");
  std::filesystem::path model;
  std::vector<std::filesystem::path> paths;
  int group_size = 64;
  int every = 6;
  program.add_option("MODEL", model)->required();
  program.add_option("TEXTS", paths, "Files of token ids, a sequence a line")->required();
  program.add_option("--group-size", group_size);
  program.add_option("--every", every, "Layers there are to one that is tried");
  CLI11_PARSE(program, argc, argv);
  core::ThreadPool pool;
  const auto decoder =
      std::make_shared<model::Decoder>(std::make_shared<checkpoint::Checkpoint>(checkpoint::open_checkpoint(model)));
  Texts texts;
  std::vector<std::unique_ptr<CalibrationPass>> passes;
  for (const auto& path : paths) texts.push_back(bench::read_token_file(path));
  for (const auto& text : texts) {
    passes.push_back(std::make_unique<CalibrationPass>(decoder, text, false, std::stop_token(), pool));
  }
  Comparison comparison(settings_to_try(), group_size, pool);
  for (int64_t i = 0; i < decoder->spec().layers; ++i) {
    if (i % every != every / 2) {
      for (const auto& pass : passes) pass->run_layer(i);
      continue;
    }
    std::vector<LayerStatistics> statistics;
    StageTimes times;
    for (const auto& pass : passes) statistics.push_back(pass->run_layer_observed(i, times));
    comparison.add(decoder->spec(), decoder->layer(i), statistics);
    std::printf("layers up to %d\n", static_cast<int>(i));
    comparison.print();
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  return salient::bench::run_program("transfer", [&] { return run(argc, argv); });
}
