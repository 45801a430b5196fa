#include "evaluate/perplexity.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <optional>
#include <utility>

#include "core/error.h"
#include "core/math.h"
#include "evaluate/statistics.h"
#include "kernels/kernels.h"

namespace salient::evaluate {

using core::ErrorKind;
using core::fail;
using runner::CpuRunner;

namespace {

/// Positions whose logits are in memory at once.
constexpr int64_t kBlock = 128;

void check_tokens(const CpuRunner& model, std::span<const int32_t> tokens, int32_t replace_first_token) {
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

/// Gives the hidden states after the last layer of one window after the other.
class HiddenStates {
 public:
  HiddenStates(CpuRunner& runner, const std::vector<std::vector<int32_t>>& texts)
      : runner_(runner), texts_(texts), sequence_(runner.new_sequence()) {}

  /// Whether `compute_all` must be called first.
  bool streamed() const { return runner_.residency() == runner::Residency::kStreamed; }

  void compute_all(const core::ProgressCallback& progress, const std::stop_token& stop) {
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

  std::vector<float> window(size_t index) {
    if (streamed()) return std::move(all_[index]);
    std::vector<float> hidden = embed(texts_[index]);
    for (int64_t i = 0; i < runner_.spec().layers; ++i) run_layer(*runner_.layer(i), texts_[index], hidden);
    return hidden;
  }

 private:
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
};

/// Log-sum-exp of a row of logits.
float log_sum(const float* logits, int64_t size) {
  const kernels::KernelSet& kernels = kernels::active_kernels();
  const float largest = kernels.maximum(logits, size);
  return largest + static_cast<float>(core::log(kernels.sum_exp(logits, size, largest)));
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
  explicit BlockLogits(CpuRunner& model) : runner(model), values(kBlock * model.spec().vocab_size) {}

  void compute(const std::vector<float>& hidden, int64_t first, int64_t count) {
    runner.head(&hidden[first * runner.spec().hidden_size], count, values.data());
    logs.resize(static_cast<size_t>(count));
    runner.pool().split(count, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) logs[i] = log_sum(row(i), runner.spec().vocab_size);
    });
  }
  const float* row(int64_t index) const { return &values[index * runner.spec().vocab_size]; }
  double loss(int64_t index, int32_t token) const { return double{logs[index]} - row(index)[token]; }
  int64_t most_likely(int64_t index) const {
    return std::max_element(row(index), row(index) + runner.spec().vocab_size) - row(index);
  }

  CpuRunner& runner;
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

  Scoring(std::span<CpuRunner* const> models, CpuRunner* base, const Texts& texts)
      : texts_(texts), predictions_(models.size()) {
    for (CpuRunner* model : models) {
      states_.emplace_back(*model, texts);
      logits_.emplace_back(*model);
    }
    if (!base) return;
    base_states_.emplace(*base, texts);
    base_logits_.emplace(*base);
  }

  void prepare(const core::ProgressCallback& progress, const std::stop_token& stop) {
    for (HiddenStates& states : states_) {
      if (states.streamed()) states.compute_all(progress, stop);
    }
    if (base_states_ && base_states_->streamed()) base_states_->compute_all(progress, stop);
  }

  void score_window(size_t index, int64_t first_scored) {
    std::vector<std::vector<float>> hidden;
    for (HiddenStates& states : states_) hidden.push_back(states.window(index));
    const auto base_hidden = base_states_ ? base_states_->window(index) : std::vector<float>();
    const auto& text = texts_[index];
    for (int64_t first = first_scored; first < std::ssize(text); first += kBlock) {
      const int64_t count = std::min(kBlock, std::ssize(text) - first);
      // The hidden state of a token predicts the next.
      if (base_logits_) {
        base_logits_->compute(base_hidden, first - 1, count);
        for (int64_t i = 0; i < count; ++i) base_losses_.push_back(base_logits_->loss(i, text[first + i]));
      }
      for (size_t i = 0; i < logits_.size(); ++i) {
        logits_[i].compute(hidden[i], first - 1, count);
        score_block(logits_[i], base_logits_ ? &*base_logits_ : nullptr, &text[first], count, predictions_[i]);
      }
    }
  }

  const std::vector<Predictions>& predictions() const { return predictions_; }
  const std::vector<double>& base_losses() const { return base_losses_; }

 private:
  const Texts& texts_;
  std::vector<HiddenStates> states_;
  std::vector<BlockLogits> logits_;
  std::optional<HiddenStates> base_states_;
  std::optional<BlockLogits> base_logits_;
  std::vector<Predictions> predictions_;
  std::vector<double> base_losses_;
};

}  // namespace

void check_window(const CpuRunner& model, const Recipe& recipe) {
  if (recipe.window <= model.spec().max_positions) return;
  fail(ErrorKind::kInvalidInput, "{}: its context holds {} tokens, but the window has {}: give a smaller --window",
       model.decoder().checkpoint().path.string(), model.spec().max_positions, recipe.window);
}

Evaluation evaluate(CpuRunner& model, CpuRunner* base, std::span<const int32_t> tokens, const Recipe& recipe,
                    int64_t limit, int32_t replace_first_token, const core::ProgressCallback& progress,
                    std::stop_token stop) {
  const std::array models = {&model};
  return evaluate(models, base, tokens, recipe, limit, replace_first_token, progress, std::move(stop)).front();
}

std::vector<Evaluation> evaluate(std::span<CpuRunner* const> models, CpuRunner* base, std::span<const int32_t> tokens,
                                 const Recipe& recipe, int64_t limit, int32_t replace_first_token,
                                 const core::ProgressCallback& progress, std::stop_token stop) {
  const auto start = std::chrono::steady_clock::now();
  const std::vector<Window> windows = make_windows(recipe, std::ssize(tokens), limit);
  std::vector<const CpuRunner*> runners(models.begin(), models.end());
  if (base) runners.push_back(base);
  for (const CpuRunner* runner : runners) {
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
