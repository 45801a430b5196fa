#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "core/dtype.h"

namespace salient::checkpoint {

/// A tensor to be written: its bytes in the file's dtype, little-endian, row-major.
struct OutputTensor {
  std::string name;
  core::DType dtype = core::DType::kF16;
  std::vector<int64_t> shape;
  std::vector<std::byte> bytes;
};

/// fp32 values as an F16 tensor. Throws invalid_input naming the tensor when a value is not finite in fp16.
OutputTensor make_f16_tensor(std::string name, std::vector<int64_t> shape, std::span<const float> values);

/// Writes one safetensors file atomically, with metadata {"format": "pt"}, data 8-byte aligned.
void write_safetensors(const std::filesystem::path& path, std::span<const OutputTensor> tensors);

/// Copies the tensors of `parts` (safetensors files) into `folder` as model.safetensors, or as shards of at most
/// `shard_bytes` with model.safetensors.index.json. Every file is flushed.
void assemble_safetensors(std::span<const std::filesystem::path> parts, const std::filesystem::path& folder,
                          uint64_t shard_bytes);

}  // namespace salient::checkpoint
