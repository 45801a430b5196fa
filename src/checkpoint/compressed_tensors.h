#pragma once

#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "checkpoint/packed_writer.h"
#include "checkpoint/safetensors_writer.h"
#include "core/quantized_tensor.h"

namespace salient::checkpoint {

// compressed-tensors' format "pack-quantized": `P.weight_packed` I32 [out, in * bits / 32], low bits first along the
// inputs; `P.weight_scale` [out, groups]; `P.weight_zero_point` I32 [ceil(out * bits / 32), groups], low bits first
// along the outputs, or I8 [out, groups] as older versions wrote it, or none where it is 0; `P.weight_shape` I64 [2];
// and `P.weight_g_idx` I32 [in], the group of each input, where older versions ordered them by activation. Packed codes
// and zero points are signed numbers plus 2^(bits - 1); w = (code - zero) * scale.
// Layout: compressed_tensors/compressors/pack_quantized.

/// Checks quantization_config of a compressed-tensors folder. Throws unsupported, naming the field, for another format,
/// weights that are not int4 or int8 in groups or rows, and for anything quantized but weights.
void check_compressed_tensors_config(const nlohmann::json& config, const std::string& origin);

/// Describes every compressed-tensors linear of the checkpoint; which of the config's groups it belongs to is told by
/// its tensors. Throws invalid_input for tensors that do not fit together, or fit no group.
void describe_compressed_tensors_linears(Checkpoint& checkpoint);

/// The tensors of `prefix`, without zero points when `symmetric`. Throws unsupported when the tensor does not fit the
/// layout (a scale that fp16 cannot hold exactly, a zero point beyond the bits or, when symmetric, not in their middle,
/// offsets, another order of inputs, inputs that do not fill words).
std::vector<OutputTensor> pack_compressed_tensors_linear(const core::QuantizedTensor& weights,
                                                         const std::string& prefix, bool symmetric);

/// config.json's quantization_config of a folder of such linears, as QuantizationConfig of compressed-tensors has it.
nlohmann::json compressed_tensors_quantization_config(const PackedSettings& settings);

}  // namespace salient::checkpoint
