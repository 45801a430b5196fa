#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <stop_token>
#include <string>
#include <variant>
#include <vector>

#include "core/dtype.h"
#include "core/progress.h"

namespace salient::checkpoint {

/// A metadata value as it is written: the widths that llama.cpp expects of its keys.
using GgufOutputValue = std::variant<uint32_t, float, bool, std::string, std::vector<int32_t>, std::vector<float>,
                                     std::vector<std::string>, std::vector<bool>>;
using GgufOutputMetadata = std::map<std::string, GgufOutputValue>;

/// A tensor whose bytes are made when its turn comes.
struct GgufOutputTensor {
  std::string name;
  core::DType dtype;
  std::vector<int64_t> shape;  ///< the contiguous dimension last, as elsewhere in Salient
  std::function<std::vector<std::byte>()> read;
};

/// Writes a GGUF file (version 3, data aligned to 32 bytes), one tensor in memory at a time; it appears under its name
/// when it is whole. Returns its size in bytes. Throws invalid_input where it cannot be written or exists, unsupported
/// for a dtype that GGUF does not have, cancelled.
/// Format: the ggml project's docs/gguf.md.
uint64_t write_gguf(const std::filesystem::path& path, const GgufOutputMetadata& metadata,
                    const std::vector<GgufOutputTensor>& tensors, const core::ProgressCallback& progress,
                    const std::stop_token& stop);

}  // namespace salient::checkpoint
