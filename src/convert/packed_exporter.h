#pragma once

#include <cstdint>
#include <filesystem>
#include <stop_token>

#include "checkpoint/checkpoint.h"
#include "checkpoint/packed_writer.h"
#include "core/progress.h"

namespace salient::convert {

struct ExportOptions {
  checkpoint::PackedFormat format = checkpoint::PackedFormat::kAwq;
  std::filesystem::path output;
  core::ProgressCallback progress;
  std::stop_token stop;
};

struct ExportReport {
  int bits = 0;
  int group_size = 0;
  uint64_t bytes = 0;  ///< of the folder written
};

/// Writes a checkpoint whose linears are quantized in another format. No weight changes: the quantized linears of
/// decoder layers keep their codes, scales and zero points; those outside of layers (a quantized head) become dense
/// fp32; dense tensors keep their dtype. Groups of different sizes are all divided into the smallest. One layer is in
/// memory at a time; nothing is left behind when it fails.
/// Throws invalid_input (nothing is quantized, output exists), unsupported, naming the tensor and what the format
/// cannot hold of it, or cancelled.
ExportReport export_packed(const checkpoint::Checkpoint& source, const ExportOptions& options);

}  // namespace salient::convert
