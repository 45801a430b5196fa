#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "convert/linear_fit.h"
#include "convert/onnx_rope_tables.h"
#include "core/progress.h"
#include "model/decoder.h"

namespace salient::convert {

struct OnnxExportOptions {
  OnnxLayout layout = OnnxLayout::kCpu;
  /// The least accurate arithmetic that MatMulNBits may use: 4, int8 activations; 0, those of the graph. By default 4
  /// with kCpu and 0 with kDml, as the generate() API's own builder has it.
  std::optional<int> accuracy_level;
  std::filesystem::path output;
  bool exact = false;  ///< throw where a quantized weight would change
  core::ProgressCallback progress;
  std::stop_token stop;
};

struct OnnxExportReport {
  std::vector<WeightChange> changes;
  std::vector<std::string> limits;  ///< with kDml: what DirectML leaves out of this graph, a sentence each
  uint64_t bytes = 0;               ///< of the folder written
};

/// Writes a decoder as a folder of ONNX Runtime's generate() API: model.onnx, model.onnx.data, genai_config.json and
/// the tokenizer's files. Quantized linears keep their codes, scales and zero points, the head's too; what MatMulNBits
/// does not hold (offsets, with kDml scales beyond fp16) is rounded as fit_linear does, and reported. Dense weights
/// become fp32 with kCpu, fp16 with kDml. One layer is in memory at a time; nothing is left behind when it fails.
/// Throws invalid_input (output exists), unsupported, naming what a graph or its operators cannot hold, or cancelled.
/// Format: https://onnxruntime.ai/docs/genai and https://github.com/onnx/onnx/blob/main/docs/IR.md.
OnnxExportReport export_onnx(const model::Decoder& decoder, const OnnxExportOptions& options);

}  // namespace salient::convert
