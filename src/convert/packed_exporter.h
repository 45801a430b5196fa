#pragma once

#include <cstdint>
#include <filesystem>
#include <stop_token>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "checkpoint/packed_writer.h"
#include "convert/linear_fit.h"
#include "core/progress.h"

namespace salient::convert {

struct PackedExportOptions {
  checkpoint::PackedFormat format = checkpoint::PackedFormat::kAwq;
  std::filesystem::path output;  ///< of the folder
  bool exact = false;            ///< throw where a weight would change
  core::ProgressCallback progress;
  std::stop_token stop;
};

struct PackedExportReport {
  int bits = 0;
  int group_size = 0;
  std::vector<WeightChange> changes;
  uint64_t bytes = 0;  ///< of the folder written
};

/// Writes a checkpoint whose linears are quantized in another format. What the format holds does not change: the
/// quantized linears of decoder layers keep their codes, scales and zero points, those outside of layers (a quantized
/// head) become dense fp32, dense tensors keep their dtype, and groups of different sizes are divided into the
/// smallest. What it does not hold (offsets, act-order, 8 bits beside 4, scales beyond fp16) is rounded as fit_linear
/// does, and reported. One layer is in memory at a time; nothing is left behind when it fails.
/// Throws invalid_input (nothing is quantized, output exists), unsupported, naming the tensor and what the format
/// cannot hold of it, or cancelled.
PackedExportReport export_packed(const checkpoint::Checkpoint& source, const PackedExportOptions& options);

}  // namespace salient::convert
