#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <stop_token>
#include <string>
#include <vector>

#include "convert/linear_fit.h"
#include "core/progress.h"
#include "model/decoder.h"

namespace salient::convert {

struct GgufExportOptions {
  std::filesystem::path output;  ///< of the file
  bool exact = false;            ///< throw where a weight would change
  core::ProgressCallback progress;
  std::stop_token stop;
};

struct GgufExportReport {
  std::map<std::string, int64_t> matrices;  ///< how many of each dtype
  std::vector<WeightChange> changes;
  uint64_t bytes = 0;
};

/// Writes a model as a GGUF file. Linears of 4 bits become Q4_0 where every zero point is 8, else Q4_1, whose fp16
/// offset rounds -zero * scale; linears of 8 bits become Q8_0. Blocks of a GGUF source stay as they are, dense matrices
/// keep their dtype, and quantized matrices whose rows 32 does not divide become F32. One matrix is in memory at a
/// time. The file's description is read back and compared with the model's: what GGUF cannot say is an error.
/// Throws invalid_input (output exists, no tokenizer), unsupported, cancelled.
GgufExportReport export_gguf(const model::Decoder& decoder, const GgufExportOptions& options);

}  // namespace salient::convert
