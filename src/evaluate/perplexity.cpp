#include "evaluate/perplexity.h"

#include <algorithm>
#include <chrono>
#include <memory>

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

/// What is known of each prediction, in order.
struct Predictions {
  std::vector<double> model_losses;
  std::vector<double> base_losses;
  std::vector<double> divergences;
  int64_t agreements = 0;
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

/// Scores the predictions of one window from both models' hidden states; `base` may be null.
void score_window(CpuRunner& model, const std::vector<float>& hidden, CpuRunner* base,
                  const std::vector<float>& base_hidden, const std::vector<int32_t>& text, int64_t first_scored,
                  Predictions& predictions) {
  const int64_t vocab = model.spec().vocab_size;
  const int64_t size = model.spec().hidden_size;
  std::vector<float> logits(kBlock * vocab);
  std::vector<float> base_logits(base ? kBlock * vocab : 0);
  for (int64_t first = first_scored; first < std::ssize(text); first += kBlock) {
    const int64_t count = std::min(kBlock, std::ssize(text) - first);
    // The hidden state of a token predicts the next.
    model.head(&hidden[(first - 1) * size], count, logits.data());
    if (base) base->head(&base_hidden[(first - 1) * base->spec().hidden_size], count, base_logits.data());
    const size_t offset = predictions.model_losses.size();
    predictions.model_losses.resize(offset + static_cast<size_t>(count));
    predictions.base_losses.resize(offset + static_cast<size_t>(count));
    predictions.divergences.resize(offset + static_cast<size_t>(count));
    std::vector<char> agrees(static_cast<size_t>(count));
    model.pool().split(count, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const float* row = &logits[i * vocab];
        const float row_log = log_sum(row, vocab);
        predictions.model_losses[offset + i] = double{row_log} - row[text[first + i]];
        if (!base) continue;
        const float* base_row = &base_logits[i * vocab];
        const float base_log = log_sum(base_row, vocab);
        predictions.base_losses[offset + i] = double{base_log} - base_row[text[first + i]];
        predictions.divergences[offset + i] =
            kernels::active_kernels().divergence(base_row, base_log, row, row_log, vocab);
        agrees[i] = std::max_element(row, row + vocab) - row == std::max_element(base_row, base_row + vocab) - base_row;
      }
    });
    predictions.agreements += std::count(agrees.begin(), agrees.end(), 1);
  }
}

}  // namespace

void check_window(const CpuRunner& model, const Recipe& recipe) {
  if (recipe.window <= model.spec().max_positions) return;
  fail(ErrorKind::kInvalidInput, "{}: its context holds {} tokens, but the window has {}: give a smaller --window",
       model.decoder().checkpoint().path.string(), model.spec().max_positions, recipe.window);
}

Evaluation evaluate(CpuRunner& model, CpuRunner* base, std::span<const int32_t> tokens, const Recipe& recipe,
                    int64_t limit, int32_t replace_first_token, const core::ProgressCallback& progress,
                    std::stop_token stop) {
  const auto start = std::chrono::steady_clock::now();
  const std::vector<Window> windows = make_windows(recipe, std::ssize(tokens), limit);
  for (const CpuRunner* runner : {&model, base}) {
    if (!runner) continue;
    check_window(*runner, recipe);
    check_tokens(*runner, tokens, replace_first_token);
  }
  if (base && base->spec().vocab_size != model.spec().vocab_size) {
    fail(ErrorKind::kInvalidInput, "{}: its vocabulary has {} tokens, but the base's has {}",
         model.decoder().checkpoint().path.string(), model.spec().vocab_size, base->spec().vocab_size);
  }
  const auto texts = cut_windows(tokens, windows, replace_first_token);
  HiddenStates model_states(model, texts);
  HiddenStates base_states(base ? *base : model, texts);
  if (model_states.streamed()) model_states.compute_all(progress, stop);
  if (base && base_states.streamed()) base_states.compute_all(progress, stop);

  Predictions predictions;
  for (size_t w = 0; w < windows.size(); ++w) {
    if (stop.stop_requested()) fail(ErrorKind::kCancelled, "interrupted while evaluating");
    const auto hidden = model_states.window(w);
    const auto base_hidden = base ? base_states.window(w) : std::vector<float>();
    score_window(model, hidden, base, base_hidden, texts[w], windows[w].first_scored - windows[w].begin, predictions);
    if (progress) progress({"evaluating", static_cast<int64_t>(w) + 1, std::ssize(windows), "windows", {}});
  }

  Evaluation result;
  result.windows = std::ssize(windows);
  result.predictions = std::ssize(predictions.model_losses);
  result.model = summarize(predictions.model_losses, windows, recipe.average);
  result.has_base = base != nullptr;
  if (base) {
    result.base = summarize(predictions.base_losses, windows, recipe.average);
    const Statistics kl = statistics_of(predictions.divergences);
    result.divergence = {kl.mean, kl.standard_error,
                         static_cast<double>(predictions.agreements) / static_cast<double>(result.predictions)};
  }
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

}  // namespace salient::evaluate
