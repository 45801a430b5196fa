#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "checkpoint/packed_writer.h"
#include "core/progress.h"
#include "core/thread_pool.h"
#include "model/decoder.h"
#include "quantize/layer_widths.h"
#include "quantize/stage_times.h"
#include "quantize/steps.h"

namespace salient::quantize {

struct QuantizeOptions {
  Steps steps = steps_of(Method::kAwqPlus, /*clip=*/true);
  checkpoint::PackedFormat format = checkpoint::PackedFormat::kAwq;  ///< of the folder written
  int group_size = 0;  ///< 0: the largest of 128, 64 and 32 that divides every quantized input
  WidthTarget target;  ///< where set, some layers may get 8 bits; only compressed-tensors can say so
  std::filesystem::path output;
  bool resume = false;
  /// What else the result depends on (where the calibration text comes from): a run resumes only with the same.
  nlohmann::json identity;
  core::ProgressCallback progress;
  std::stop_token stop;
};

struct QuantizeReport {
  int group_size = 0;
  int64_t resumed_layers = 0;
  uint64_t bytes = 0;  ///< of the folder written
  double seconds = 0;
  std::optional<double> divergence;  ///< on held-out calibration text, where widths were chosen by a target
  ByStage stage_seconds{};
  nlohmann::json layers;  ///< for each layer {steps, inputs, channels, weights}: lists of {kind, part, choice,
                          ///< loss_before, loss_after}, and of what channel_report.h says; with a target also {bits,
                          ///< sensitivity}
};

/// The group size a model is quantized with when none is asked for, or a check of the one asked for. Both formats
/// have one for the whole model. Throws unsupported when none fits, naming the input that does not divide.
int choose_group_size(const model::DecoderSpec& spec, int wanted);

/// Throws what `quantize` would throw for this model, group size and output, before work on calibration begins.
void check_quantizable(const model::Decoder& decoder, const QuantizeOptions& options);

/// What is wrong with calibration text that can be run but tells too little of this model's inputs, in one sentence;
/// empty when nothing is.
std::string calibration_warning(const model::DecoderSpec& spec, std::span<const std::vector<int32_t>> calibration);

/// What a report's layers say of calibration text that was too little, in one sentence; empty when it was enough: 8
/// tokens or more for each direction that inputs vary in, as docs/quantization.md measures it. (An effective rank r
/// comes out of n tokens as about 1 / (1 / r + 1 / n), for it is made of squares, to which the noise of n samples
/// adds.)
std::string coverage_warning(const nlohmann::json& layers);

/// Quantizes the linears of every layer to int4 and writes a folder of `format`; embeddings, head and norms stay fp16.
/// Layers stream from the checkpoint's mapping: memory is that of one layer and of the calibration tokens' hidden
/// states, of these two where inputs are corrected for. `calibration` holds token ids, each sequence at most the
/// model's context; it is not looked at where no step needs it. With a target its last sixteenth (a sequence at least)
/// is held out, to choose the layers' widths by. Throws invalid_input (output exists, model is quantized already or
/// holds weights that are no numbers, calibration missing, too long or outside the vocabulary, a target out of reach:
/// then all layers are kept for a resumed run with another), unsupported, or cancelled: then what was finished is kept
/// for a resumed run.
QuantizeReport quantize(std::shared_ptr<const model::Decoder> decoder,
                        std::span<const std::vector<int32_t>> calibration, const QuantizeOptions& options,
                        core::ThreadPool& pool);

}  // namespace salient::quantize
