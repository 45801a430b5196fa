#pragma once

#include <cstdint>
#include <string>

#include "checkpoint/checkpoint.h"

namespace salient::checkpoint {

/// How the zero points of a GPTQ folder are stored.
enum class GptqZeros {
  kPlain,    ///< checkpoint_format "gptq_v2": as they are
  kLessOne,  ///< "gptq": each less 1
  /// "gptq" as GPTQModel writes it: 1 for each zero point was subtracted from the packed word as a whole, so that a
  /// zero point of 0 has borrowed from the next.
  kWordsLessOne,
};

/// The settings of a GPTQ folder, from config.json's quantization_config (or quantize_config.json).
struct GptqSettings {
  int bits = 4;
  int64_t group_size = 128;  ///< -1: the whole row
  bool act_order = false;    ///< desc_act: `g_idx` says which group an input is in
  GptqZeros zeros = GptqZeros::kLessOne;
};

/// Checks quantization_config of a GPTQ folder. Throws unsupported, naming the field.
GptqSettings read_gptq_settings(const nlohmann::json& config, const std::string& origin);

/// Describes every GPTQ linear of the checkpoint: `P.qweight` I32 [in * bits / 32, out], low bits first along the
/// inputs; `P.qzeros` I32 [groups, out * bits / 32], low bits first; `P.scales` [groups, out]; and `P.g_idx` I32 [in],
/// the group of each input, which may be missing without act-order. w = (code - zero) * scale.
/// Layout: GPTQModel's nn_modules/qlinear, which keeps that of AutoGPTQ.
/// Throws invalid_input for tensors that do not fit together.
void describe_gptq_linears(Checkpoint& checkpoint);

}  // namespace salient::checkpoint
