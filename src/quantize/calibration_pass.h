#pragma once

#include <memory>

#include "quantize/layer_search.h"
#include "quantize/state_pass.h"

namespace salient::quantize {

/// The hidden states of the calibration text on their way through the layers: of the unquantized model (what a GGUF
/// quantized is dequantized, so that nothing but its own error is in them), and, where inputs are corrected for, also
/// those behind the layers that are quantized already. Throws cancelled when `stop` asks for it.
class CalibrationPass {
 public:
  CalibrationPass(std::shared_ptr<const model::Decoder> decoder, std::span<const std::vector<int32_t>> calibration,
                  bool corrected, std::stop_token stop, core::ThreadPool& pool);

  bool is_corrected() const { return corrected_; }

  /// Takes the unquantized model's states through a layer.
  void run_layer(int64_t index);
  /// The same, and what its linears see: of the states behind quantized layers where there are such.
  LayerStatistics run_layer_observed(int64_t index, StageTimes& times);
  /// Takes the states behind quantized layers through one more.
  void run_quantized_layer(const model::DecoderLayer& layer, int64_t index);

 private:
  StatePass pass_;
  core::ThreadPool& pool_;
  bool corrected_;
  States hidden_;
  States quantized_hidden_;  ///< empty unless inputs are corrected for
};

}  // namespace salient::quantize
