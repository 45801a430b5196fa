#pragma once

#include <filesystem>

#include "checkpoint/checkpoint.h"

namespace salient::checkpoint {

/// True for a folder of ONNX Runtime's generate() API: it has a genai_config.json and no safetensors. Published ones
/// may have a config.json beside it.
bool is_onnx_folder(const std::filesystem::path& path);

/// Opens such a folder: genai_config.json, the graph that it names as the decoder, and the tokenizer's files. What the
/// graph computes becomes config fields and weights as transformers has them; the weights are the graph's, without
/// loss. A window of attention is what the graph says; genai_config.json's sliding_window is about the cache.
/// Throws not_found, invalid_input or unsupported, naming file and field, or the node that is not understood.
/// Format: https://onnxruntime.ai/docs/genai/reference/config.html.
Checkpoint open_onnx_folder(const std::filesystem::path& folder);

}  // namespace salient::checkpoint
