#include "evaluate/perplexity.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <memory>
#include <optional>
#include <utility>

#include "core/error.h"
#include "core/math.h"
#include "evaluate/statistics.h"
#include "kernels/kernels.h"
#include "kernels/log_sum_exp.h"
#include "runner/cpu_runner.h"

namespace salient::evaluate {

using core::ErrorKind;
using core::fail;
using runner::CpuRunner;
using runner::ModelRunner;

namespace {

/// Positions whose logits are in memory at once.
constexpr int64_t kBlock = 128;

void check_tokens(const ModelRunner& model, std::span<const int32_t> tokens, int32_t replace_first_token) {
  const auto [smallest, largest] = std::minmax_element(tokens.begin(), tokens.end());
  for (const int32_t token : {*smallest, *largest, std::max(replace_first_token, 0)}) {
    if (token >= 0 && token < model.spec().vocab_size) continue;
    fail(ErrorKind::kInvalidInput, "{}: token {} is outside its vocabulary of {}",
         model.decoder().checkpoint().path.string(), token, model.spec().vocab_size);
  }
}

/// The tokens of each window, ready to run.
std::vector<std::vector<int32_t>> cut_windows(std::span<const int32_t> tokens, const std::vector<Window>& windows,
                                              int32_t replace_first_token) {
  std::vector<std::vector<int32_t>> texts;
  for (const Window& window : windows) {
    texts.emplace_back(tokens.begin() + window.begin, tokens.begin() + window.end);
    if (replace_first_token >= 0) texts.back().front() = replace_first_token;
  }
  return texts;
}

/// Gives the logits of one window after the other, in blocks of positions.
class WindowLogits {
 public:
  virtual ~WindowLogits() = default;
  /// What has to be done once before the first window.
  virtual void prepare(const core::ProgressCallback&, const std::stop_token&) {}
  /// Begins with a window, whose positions before `first` are not asked for.
  virtual void open(size_t window, int64_t first) = 0;
  /// Logits of the next `count` positions: [count, vocab_size].
  virtual void next(int64_t count, std::vector<float>& logits) = 0;
};

/// Of a CPU runner, from the hidden states after the last layer: a window goes through each layer as a whole, or, where
/// layers are streamed, all windows do.
class LayerwiseLogits : public WindowLogits {
 public:
  LayerwiseLogits(CpuRunner& runner, const std::vector<std::vector<int32_t>>& texts)
      : runner_(runner), texts_(texts), sequence_(runner.new_sequence()) {}

  void prepare(const core::ProgressCallback& progress, const std::stop_token& stop) override {
    if (!streamed()) return;
    for (const auto& text : texts_) all_.push_back(embed(text));
    for (int64_t i = 0; i < runner_.spec().layers; ++i) {
      const auto layer = runner_.layer(i);
      for (size_t w = 0; w < texts_.size(); ++w) {
        if (stop.stop_requested()) fail(ErrorKind::kCancelled, "interrupted while evaluating");
        run_layer(*layer, texts_[w], all_[w]);
      }
      if (progress) progress({"evaluating layer by layer", i + 1, runner_.spec().layers, "layers", {}});
    }
  }

  void open(size_t window, int64_t first) override {
    position_ = first;
    if (streamed()) {
      hidden_ = std::move(all_[window]);
      return;
    }
    hidden_ = embed(texts_[window]);
    for (int64_t i = 0; i < runner_.spec().layers; ++i) run_layer(*runner_.layer(i), texts_[window], hidden_);
  }

  void next(int64_t count, std::vector<float>& logits) override {
    logits.resize(static_cast<size_t>(count * runner_.spec().vocab_size));
    runner_.head(&hidden_[position_ * runner_.spec().hidden_size], count, logits.data());
    position_ += count;
  }

 private:
  bool streamed() const { return runner_.residency() == runner::Residency::kStreamed; }
  std::vector<float> embed(const std::vector<int32_t>& text) const {
    std::vector<float> hidden(text.size() * static_cast<size_t>(runner_.spec().hidden_size));
    runner_.embed(text, hidden.data());
    return hidden;
  }
  void run_layer(const runner::CpuLayer& layer, const std::vector<int32_t>& text, std::vector<float>& hidden) {
    sequence_.truncate(0);
    runner_.run_layer(layer, sequence_, std::ssize(text), hidden.data());
  }

  CpuRunner& runner_;
  const std::vector<std::vector<int32_t>>& texts_;
  runner::Sequence sequence_;
  std::vector<std::vector<float>> all_;
  std::vector<float> hidden_;
  int64_t position_ = 0;
};

/// Of any runner, block after block of the window's tokens.
class BlockwiseLogits : public WindowLogits {
 public:
  BlockwiseLogits(ModelRunner& runner, const std::vector<std::vector<int32_t>>& texts)
      : runner_(runner), texts_(texts), sequence_(runner.new_sequence()) {}

  void open(size_t window, int64_t first) override {
    window_ = window;
    sequence_.truncate(0);
    for (int64_t done = 0; done < first; done = sequence_.length()) {
      run(std::min(kFill, first - done), runner::Wanted::kNothing);
    }
  }
  void next(int64_t count, std::vector<float>& logits) override { logits = run(count, runner::Wanted::kAllLogits); }

 private:
  static constexpr int64_t kFill = 512;

  std::vector<float> run(int64_t count, runner::Wanted wanted) {
    const std::span<const int32_t> text(texts_[window_]);
    const auto tokens = text.subspan(static_cast<size_t>(sequence_.length()), static_cast<size_t>(count));
    const runner::TokenRun run{tokens, &sequence_, wanted, std::ssize(text)};
    return runner_.forward(std::span(&run, 1));
  }

  ModelRunner& runner_;
  const std::vector<std::vector<int32_t>>& texts_;
  runner::Sequence sequence_;
  size_t window_ = 0;
};

std::unique_ptr<WindowLogits> window_logits(ModelRunner& runner, const std::vector<std::vector<int32_t>>& texts) {
  if (auto* cpu = dynamic_cast<CpuRunner*>(&runner)) return std::make_unique<LayerwiseLogits>(*cpu, texts);
  return std::make_unique<BlockwiseLogits>(runner, texts);
}

/// What is known of each prediction of a model, in order.
struct Predictions {
  std::vector<double> losses;
  std::vector<double> divergences;
  int64_t agreements = 0;

  void grow(int64_t count) {
    losses.resize(losses.size() + static_cast<size_t>(count));
    divergences.resize(losses.size());
  }
};

Perplexity summarize(const std::vector<double>& losses, const std::vector<Window>& windows, Average average) {
  Perplexity result;
  auto next = losses.begin();
  for (const Window& window : windows) {
    const std::vector<double> part(next, next + window.predictions());
    result.window_losses.push_back(statistics_of(part).mean);
    next += window.predictions();
  }
  const Statistics all = statistics_of(losses);
  const double mean = average == Average::kWindowMeans ? statistics_of(result.window_losses).mean : all.mean;
  result.perplexity = core::exp(mean);
  result.standard_error = result.perplexity * all.standard_error;
  return result;
}

/// A model's logits for the positions of a block, and what follows from each row.
struct BlockLogits {
  BlockLogits(ModelRunner& model, const std::vector<std::vector<int32_t>>& texts)
      : runner(model), source(window_logits(model, texts)) {}

  void compute(int64_t count) {
    source->next(count, values);
    logs.resize(static_cast<size_t>(count));
    runner.pool().split(count, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) logs[i] = kernels::log_sum_exp(row(i), runner.spec().vocab_size);
    });
  }
  const float* row(int64_t index) const { return &values[index * runner.spec().vocab_size]; }
  double loss(int64_t index, int32_t token) const { return double{logs[index]} - row(index)[token]; }
  int64_t most_likely(int64_t index) const {
    return std::max_element(row(index), row(index) + runner.spec().vocab_size) - row(index);
  }

  ModelRunner& runner;
  std::unique_ptr<WindowLogits> source;
  std::vector<float> values;
  std::vector<float> logs;  ///< log-sum-exp of each row
};

/// Adds a block's predictions of `targets`; `base` may be null.
void score_block(const BlockLogits& model, const BlockLogits* base, const int32_t* targets, int64_t count,
                 Predictions& predictions) {
  const int64_t vocab = model.runner.spec().vocab_size;
  const size_t offset = predictions.losses.size();
  predictions.grow(count);
  std::vector<char> agrees(static_cast<size_t>(count));
  model.runner.pool().split(count, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      predictions.losses[offset + i] = model.loss(i, targets[i]);
      if (!base) continue;
      predictions.divergences[offset + i] =
          kernels::active_kernels().divergence(base->row(i), base->logs[i], model.row(i), model.logs[i], vocab);
      agrees[i] = model.most_likely(i) == base->most_likely(i);
    }
  });
  predictions.agreements += std::count(agrees.begin(), agrees.end(), 1);
}

/// Several models, and their base if there is one, scored window after window.
class Scoring {
 public:
  using Texts = std::vector<std::vector<int32_t>>;

  Scoring(std::span<ModelRunner* const> models, ModelRunner* base, const Texts& texts)
      : texts_(texts), predictions_(models.size()) {
    for (ModelRunner* model : models) logits_.emplace_back(*model, texts);
    if (base) base_logits_.emplace(*base, texts);
  }

  void prepare(const core::ProgressCallback& progress, const std::stop_token& stop) {
    for (BlockLogits& logits : logits_) logits.source->prepare(progress, stop);
    if (base_logits_) base_logits_->source->prepare(progress, stop);
  }

  void score_window(size_t index, int64_t first_scored) {
    // The logits of a token predict the next.
    for (BlockLogits& logits : logits_) logits.source->open(index, first_scored - 1);
    if (base_logits_) base_logits_->source->open(index, first_scored - 1);
    const auto& text = texts_[index];
    for (int64_t first = first_scored; first < std::ssize(text); first += kBlock) {
      const int64_t count = std::min(kBlock, std::ssize(text) - first);
      if (base_logits_) {
        base_logits_->compute(count);
        for (int64_t i = 0; i < count; ++i) base_losses_.push_back(base_logits_->loss(i, text[first + i]));
      }
      for (size_t i = 0; i < logits_.size(); ++i) {
        logits_[i].compute(count);
        score_block(logits_[i], base_logits_ ? &*base_logits_ : nullptr, &text[first], count, predictions_[i]);
      }
    }
  }

  const std::vector<Predictions>& predictions() const { return predictions_; }
  const std::vector<double>& base_losses() const { return base_losses_; }

 private:
  const Texts& texts_;
  std::vector<BlockLogits> logits_;
  std::optional<BlockLogits> base_logits_;
  std::vector<Predictions> predictions_;
  std::vector<double> base_losses_;
};

}  // namespace

void check_window(const ModelRunner& model, const Recipe& recipe) {
  if (recipe.window <= model.spec().max_positions) return;
  fail(ErrorKind::kInvalidInput, "{}: its context holds {} tokens, but the window has {}: give a smaller --window",
       model.decoder().checkpoint().path.string(), model.spec().max_positions, recipe.window);
}

Evaluation evaluate(ModelRunner& model, ModelRunner* base, std::span<const int32_t> tokens, const Recipe& recipe,
                    int64_t limit, int32_t replace_first_token, const core::ProgressCallback& progress,
                    std::stop_token stop) {
  const std::array models = {&model};
  return evaluate(models, base, tokens, recipe, limit, replace_first_token, progress, std::move(stop)).front();
}

std::vector<Evaluation> evaluate(std::span<ModelRunner* const> models, ModelRunner* base,
                                 std::span<const int32_t> tokens, const Recipe& recipe, int64_t limit,
                                 int32_t replace_first_token, const core::ProgressCallback& progress,
                                 std::stop_token stop) {
  const auto start = std::chrono::steady_clock::now();
  const std::vector<Window> windows = make_windows(recipe, std::ssize(tokens), limit);
  std::vector<const ModelRunner*> runners(models.begin(), models.end());
  if (base) runners.push_back(base);
  for (const ModelRunner* runner : runners) {
    check_window(*runner, recipe);
    check_tokens(*runner, tokens, replace_first_token);
    if (!base || runner->spec().vocab_size == base->spec().vocab_size) continue;
    fail(ErrorKind::kInvalidInput, "{}: its vocabulary has {} tokens, but the base's has {}",
         runner->decoder().checkpoint().path.string(), runner->spec().vocab_size, base->spec().vocab_size);
  }
  const auto texts = cut_windows(tokens, windows, replace_first_token);
  Scoring scoring(models, base, texts);
  scoring.prepare(progress, stop);
  for (size_t w = 0; w < windows.size(); ++w) {
    if (stop.stop_requested()) fail(ErrorKind::kCancelled, "interrupted while evaluating");
    scoring.score_window(w, windows[w].first_scored - windows[w].begin);
    if (progress) progress({"evaluating", static_cast<int64_t>(w) + 1, std::ssize(windows), "windows", {}});
  }

  std::vector<Evaluation> results;
  for (const Predictions& predictions : scoring.predictions()) {
    Evaluation& result = results.emplace_back();
    result.windows = std::ssize(windows);
    result.predictions = std::ssize(predictions.losses);
    result.model = summarize(predictions.losses, windows, recipe.average);
    result.has_base = base != nullptr;
    if (base) {
      result.base = summarize(scoring.base_losses(), windows, recipe.average);
      const Statistics kl = statistics_of(predictions.divergences);
      result.divergence = {kl.mean, kl.standard_error,
                           static_cast<double>(predictions.agreements) / static_cast<double>(result.predictions)};
    }
    result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }
  return results;
}

}  // namespace salient::evaluate
