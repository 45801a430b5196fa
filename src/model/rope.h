#pragma once

#include <cstdint>

#include "model/config_reader.h"
#include "model/decoder_spec.h"

namespace salient::model {

/// What the frequencies of a rotary embedding depend on besides its own parameters.
struct RopeContext {
  double theta = 10000;
  int64_t head_dim = 0;
  double rotary_factor = 1;  ///< share of head_dim that turns
  int64_t max_positions = 0;
  int64_t original_positions = 0;  ///< where config.json has it outside the parameters (Phi-3); 0: it has not
};

/// An embedding without scaling.
Rope make_rope(const RopeContext& context);

/// An embedding from the fields of rope_parameters or rope_scaling: default, linear, llama3, yarn (Peng et al., "YaRN",
/// 2023), longrope (Ding et al., "LongRoPE", 2024; "su" in early Phi-3) or our own "frequencies", which lists them:
/// frequencies, magnitude and, for texts longer than original_max_position_embeddings, long_frequencies. Throws
/// unsupported for another type and for a field that is not understood.
Rope read_rope(const ConfigReader& parameters, const RopeContext& context);

}  // namespace salient::model
