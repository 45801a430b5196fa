#include "quantize/calibration_pass.h"

#include <array>
#include <utility>

namespace salient::quantize {

using runner::LinearInput;

CalibrationPass::CalibrationPass(std::shared_ptr<const model::Decoder> decoder,
                                 std::span<const std::vector<int32_t>> calibration, bool corrected,
                                 std::stop_token stop, core::ThreadPool& pool)
    : pass_(std::move(decoder), calibration, std::move(stop), pool),
      pool_(pool),
      corrected_(corrected),
      hidden_(pass_.embed()) {
  if (corrected) quantized_hidden_ = hidden_;
}

void CalibrationPass::run_layer(int64_t index) {
  pass_.run(*pass_.runner().layer(index), hidden_);
}

LayerStatistics CalibrationPass::run_layer_observed(int64_t index, StageTimes& times) {
  using Drift = GramAccumulator::Drift;
  const auto layer = pass_.runner().layer(index);
  LayerStatistics statistics(pass_.runner().spec(), corrected_ ? Drift::kKept : Drift::kNone, pool_);
  const auto observe = [&](LinearInput place, const float* x, const float* unquantized, int64_t tokens) {
    times.time(Stage::kGram, [&] { statistics.observe(place, x, unquantized, tokens); });
  };
  std::array<std::vector<float>, 4> inputs;  // of the batch in hand, at the four places
  std::vector<float> scratch;
  for (size_t i = 0; i < hidden_.size(); ++i) {
    pass_.run(*layer, i, hidden_[i], [&](LinearInput place, const float* x, int64_t tokens, int64_t width) {
      if (corrected_) {
        inputs[static_cast<size_t>(place)].assign(x, x + tokens * width);
      } else {
        observe(place, x, nullptr, tokens);
      }
    });
    if (!corrected_) continue;
    scratch = quantized_hidden_[i];  // the layer itself is still to be quantized
    pass_.run(*layer, i, scratch, [&](LinearInput place, const float* x, int64_t tokens, int64_t) {
      observe(place, x, inputs[static_cast<size_t>(place)].data(), tokens);
    });
  }
  return statistics;
}

void CalibrationPass::run_quantized_layer(const model::DecoderLayer& layer, int64_t index) {
  pass_.run(layer, index, quantized_hidden_);
}

}  // namespace salient::quantize
