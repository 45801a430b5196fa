#pragma once

#include <string>
#include <vector>

#include "core/thread_pool.h"
#include "model/decoder_spec.h"
#include "quantize/channel_report.h"
#include "quantize/dense_layer.h"
#include "quantize/gram.h"
#include "quantize/stage_times.h"
#include "quantize/steps.h"
#include "runner/cpu_layer.h"

namespace salient::quantize {

/// What calibration saw at the four places of a layer where linears read.
class LayerStatistics {
 public:
  LayerStatistics(const model::DecoderSpec& spec, GramAccumulator::Drift drift, core::ThreadPool& pool);
  /// As GramAccumulator::add.
  void observe(runner::LinearInput place, const float* x, const float* unquantized, int64_t tokens);
  const GramAccumulator& at(runner::LinearInput place) const { return places_[static_cast<size_t>(place)]; }

 private:
  std::vector<GramAccumulator> places_;
};

/// One line of the report: what was done to a scale group or a linear, and what that did to its error.
struct SearchReport {
  enum class Kind { kScales, kLinear };
  Kind kind;
  std::string part;        ///< "attention input", "value", ...
  std::string choice;      ///< a candidate's name: "x^0.35"; "rounded", "grids", "compensated", "descended"
  double loss_before = 0;  ///< of plain rounding of what was there before this step
  double loss_after = 0;
};

/// A searched layer, ready to be written.
struct QuantizedLayer {
  model::LayerNorms norms;
  std::vector<core::QuantizedTensor> linears;  ///< in the order of model::linear_slots
  std::vector<SearchReport> report;
  std::vector<InputReport> inputs;      ///< of each place where linears read
  std::vector<ChannelReport> channels;  ///< of each scale group
  std::vector<WeightReport> weights;    ///< of each linear, as it was before scaling
};

/// Quantizes one layer, whose linears are `layer` (changed in place by scales). Of each linear the best of its
/// candidates is kept, plain rounding among them, by the squared error of its outputs on the calibration text; the
/// scales of an input too are kept only where plain rounding has less error with them than without.
QuantizedLayer search_layer(DenseLayer& layer, const LayerStatistics& statistics, const model::DecoderSpec& spec,
                            int group_size, const Steps& steps, StageTimes& times, core::ThreadPool& pool);

/// Rounds one layer as it is; of the steps only the kind of zero point counts.
QuantizedLayer round_layer(DenseLayer& layer, int group_size, const Steps& steps, core::ThreadPool& pool);

/// The same to 8 bits, symmetric; `origin` is what errors call the layer. Nothing is reported of it.
QuantizedLayer round_layer_to_int8(DenseLayer& layer, int group_size, const std::string& origin,
                                   core::ThreadPool& pool);

}  // namespace salient::quantize
