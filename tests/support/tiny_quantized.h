#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "checkpoint/checkpoint.h"
#include "model/decoder.h"
#include "tests/support/tiny_model.h"

namespace salient::tests {

/// Codes, scales that fp16 holds, and zero points without a pattern.
inline core::QuantizedTensor make_quantized(int64_t out_features, int64_t in_features, int group_size, uint32_t seed,
                                            int bits = 4) {
  std::mt19937 engine(seed);
  core::QuantizedTensor weights;
  weights.out_features = out_features;
  weights.in_features = in_features;
  weights.bits = bits;
  weights.group_size = group_size;
  const uint32_t count = 1u << bits;
  for (int64_t i = 0; i < out_features * in_features; ++i) {
    weights.codes.push_back(static_cast<uint8_t>(engine() % count));
  }
  for (int64_t i = 0; i < out_features * weights.groups(); ++i) {
    weights.scales.push_back(static_cast<float>(engine() % 100 + 1) / 2048);
    weights.zeros.push_back(static_cast<uint8_t>(engine() % count));
  }
  return weights;
}

/// Puts a quantized linear in the place of a dense one.
inline void quantize_linear(checkpoint::Checkpoint& checkpoint, const std::string& name,
                            const core::QuantizedTensor& weights) {
  checkpoint.tensors.erase(name + ".weight");
  checkpoint.quantized[name] = {core::hold(weights)};
}

/// A random model folder opened with all linears of its layers quantized in groups of 32.
inline checkpoint::Checkpoint open_tiny_quantized(const std::filesystem::path& folder, const TinyShape& shape = {}) {
  write_tiny_model(folder, shape);
  checkpoint::Checkpoint checkpoint = checkpoint::open_checkpoint(folder);
  const model::DecoderSpec spec =
      model::read_decoder_spec(checkpoint.config, checkpoint.generation_config, folder.string());
  uint32_t seed = 1;
  for (int64_t i = 0; i < spec.layers; ++i) {
    for (const model::LinearSlot& slot : model::linear_slots(spec)) {
      quantize_linear(checkpoint, model::layer_prefix(i) + slot.name,
                      make_quantized(slot.out_features, slot.in_features, 32, seed++));
    }
  }
  return checkpoint;
}

}  // namespace salient::tests
