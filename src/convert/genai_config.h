#pragma once

#include <nlohmann/json.hpp>

#include "checkpoint/checkpoint.h"
#include "convert/onnx_rope_tables.h"
#include "model/decoder_spec.h"

namespace salient::convert {

/// genai_config.json of a folder with the graph model.onnx, with the keys that every version of the generate() API
/// knows: it refuses others. How to sample is what generation_config.json says.
/// Format: https://onnxruntime.ai/docs/genai/reference/config.html.
nlohmann::json make_genai_config(const checkpoint::Checkpoint& source, const model::DecoderSpec& spec,
                                 OnnxLayout layout);

}  // namespace salient::convert
