#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "checkpoint/safetensors_writer.h"
#include "core/quantized_tensor.h"

namespace salient::checkpoint {

/// The settings of an AutoAWQ "gemm" folder, from config.json's quantization_config.
struct AwqSettings {
  int bits = 4;
  int group_size = 128;
  bool symmetric = false;  ///< zero_point is false: every zero point is 8
};

/// Checks quantization_config of an AutoAWQ folder. Throws unsupported for a version other than gemm or other bits,
/// naming the field.
AwqSettings read_awq_settings(const nlohmann::json& config, const std::string& origin);

/// Describes every AutoAWQ linear of the checkpoint. Throws invalid_input for tensors that do not fit together.
void describe_awq_linears(Checkpoint& checkpoint);

/// Reads `prefix.qweight`, `.qzeros` and `.scales` (shapes [in, out/8], [in/group, out/8], [in/group, out]).
core::QuantizedTensor read_awq_linear(const Checkpoint& checkpoint, const std::string& prefix,
                                      const AwqSettings& settings);

/// The three tensors of `prefix` in AutoAWQ's gemm layout: nibble k of a 32-bit word holds output
/// 8c + {0,2,4,6,1,3,5,7}[k]. Throws unsupported when the tensor does not fit the layout (bits other than 4, a scale
/// that fp16 cannot hold exactly, a zero point above 15, offsets, another order of inputs, out_features not a multiple
/// of 8).
std::vector<OutputTensor> pack_awq_linear(const core::QuantizedTensor& weights, const std::string& prefix);

/// config.json's quantization_config of a folder of such linears, as AwqConfig.to_transformers_dict of AutoAWQ has it.
nlohmann::json awq_quantization_config(int group_size, const std::vector<std::string>& dense_linears);

}  // namespace salient::checkpoint
