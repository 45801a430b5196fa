#include "quantize/calibration_pass.h"

#include <array>
#include <utility>

#include "core/arena.h"
#include "core/error.h"

namespace salient::quantize {

using runner::LinearInput;

CalibrationPass::CalibrationPass(std::shared_ptr<const model::Decoder> decoder,
                                 std::span<const std::vector<int32_t>> calibration, bool corrected,
                                 std::stop_token stop, core::ThreadPool& pool)
    : runner_(std::move(decoder), pool,
              {.activations = runner::Activations::kFp32, .residency = runner::Residency::kStreamed}),
      pool_(pool),
      sequence_(runner_.new_sequence()),
      calibration_(calibration),
      corrected_(corrected),
      stop_(std::move(stop)) {
  for (const auto& text : calibration) {
    hidden_.emplace_back(text.size() * static_cast<size_t>(runner_.spec().hidden_size));
    runner_.embed(text, hidden_.back().data());
  }
  if (corrected) quantized_hidden_ = hidden_;
}

void CalibrationPass::run(const runner::CpuLayer& layer, size_t text, std::vector<float>& hidden,
                          const runner::LinearObserver& observer) {
  if (stop_.stop_requested()) core::fail(core::ErrorKind::kCancelled, "interrupted; run again with --resume to go on");
  sequence_.truncate(0);
  runner_.run_layer(layer, sequence_, std::ssize(calibration_[text]), hidden.data(), observer);
}

void CalibrationPass::run_layer(int64_t index) {
  const auto layer = runner_.layer(index);
  for (size_t i = 0; i < calibration_.size(); ++i) run(*layer, i, hidden_[i]);
}

LayerStatistics CalibrationPass::run_layer_observed(int64_t index, StageTimes& times) {
  using Drift = GramAccumulator::Drift;
  const auto layer = runner_.layer(index);
  LayerStatistics statistics(runner_.spec(), corrected_ ? Drift::kKept : Drift::kNone, pool_);
  const auto observe = [&](LinearInput place, const float* x, const float* unquantized, int64_t tokens) {
    times.time(Stage::kGram, [&] { statistics.observe(place, x, unquantized, tokens); });
  };
  std::array<std::vector<float>, 4> inputs;  // of the text in hand, at the four places
  std::vector<float> scratch;
  for (size_t i = 0; i < calibration_.size(); ++i) {
    run(*layer, i, hidden_[i], [&](LinearInput place, const float* x, int64_t tokens, int64_t width) {
      if (corrected_) {
        inputs[static_cast<size_t>(place)].assign(x, x + tokens * width);
      } else {
        observe(place, x, nullptr, tokens);
      }
    });
    if (!corrected_) continue;
    scratch = quantized_hidden_[i];  // the layer itself is still to be quantized
    run(*layer, i, scratch, [&](LinearInput place, const float* x, int64_t tokens, int64_t) {
      observe(place, x, inputs[static_cast<size_t>(place)].data(), tokens);
    });
  }
  return statistics;
}

void CalibrationPass::run_quantized_layer(const model::DecoderLayer& layer, int64_t index) {
  core::Arena arena;
  const runner::CpuLayer packed(layer, runner_.spec().attention[index], runner::Activations::kFp32, pool_, arena);
  for (size_t i = 0; i < calibration_.size(); ++i) run(packed, i, quantized_hidden_[i]);
}

}  // namespace salient::quantize
