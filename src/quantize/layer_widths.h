#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <stop_token>
#include <vector>

#include "core/progress.h"
#include "core/thread_pool.h"
#include "model/decoder.h"

namespace salient::quantize {

/// What a model with layers of both 4 and 8 bits has to keep to; one of the two at most.
struct WidthTarget {
  uint64_t bytes = 0;     ///< of its tensors, at most; 0: as many as it takes
  double divergence = 0;  ///< KL(unquantized || quantized) on held-out text at most, nats a token; 0: whatever it is

  bool is_set() const { return bytes != 0 || divergence != 0; }
};

/// The layers of a quantized model in 4 and in 8 bits. `open(layer, bits)` gives a decoder that has this layer
/// quantized.
struct WidthSource {
  std::function<std::shared_ptr<const model::Decoder>(int64_t layer, int bits)> open;
  uint64_t int4_bytes = 0;            ///< of the tensors with all layers in 4 bits
  std::vector<uint64_t> extra_bytes;  ///< that 8 bits take more, for each layer
};

struct LayerWidths {
  std::vector<int> bits;              ///< 4 or 8, for each layer
  std::vector<double> sensitivities;  ///< KL where this layer alone is quantized, to 4 bits; nats a token
  double divergence = 0;              ///< KL of the model with these widths
};

/// Throws invalid_input where all layers in 4 bits are larger than the target.
void check_size(uint64_t target, uint64_t int4_bytes);

/// Chooses the layers that get 8 bits, those first whose 4 bits cost the most divergence for each byte that 8 bits
/// take more, as many as the size allows, or as few as the divergence needs (found by bisection: each try runs the
/// model). Divergence is measured on `texts`, which should not be those the model was calibrated on. The measurement of
/// sensitivities keeps layers * tokens * hidden_size fp32 states and costs layers / 2 passes over the texts.
/// Throws invalid_input, saying what can be reached, when no choice keeps to the target; cancelled.
LayerWidths choose_widths(std::shared_ptr<const model::Decoder> decoder, const WidthSource& source,
                          const WidthTarget& target, std::span<const std::vector<int32_t>> texts,
                          const core::ProgressCallback& progress, std::stop_token stop, core::ThreadPool& pool);

}  // namespace salient::quantize
