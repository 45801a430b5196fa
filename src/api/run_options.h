#pragma once

#include <cstdint>
#include <optional>
#include <salient/salient.hpp>
#include <string>

#include "checkpoint/checkpoint.h"
#include "checkpoint/packed_writer.h"
#include "device/open_runner.h"
#include "model/decoder.h"
#include "runner/model_runner.h"
#include "text/tokenizer.h"

namespace salient::api {

/// The options of a runner. Throws invalid_input for a word that is not known.
device::RunnerOptions runner_options(const ModelOptions& options, const Monitor& monitor);

/// A number of threads, checked.
int checked_threads(int threads);

/// "awq" or "compressed-tensors".
checkpoint::PackedFormat packed_format(const std::string& format);

/// How a quantized linear is stored and, with int8 activations, run: "int4 in groups of 128".
std::string describe(const checkpoint::StoredQuantized& linear);

/// What a runner multiplies: "int4 in groups of 32, int8 activations", "not quantized, head int8 in groups of 64".
std::string describe_arithmetic(const runner::ModelRunner& runner);

/// One line: what runs, and on what.
std::string describe_run(const runner::ModelRunner& runner);

text::Tokenizer open_tokenizer(const checkpoint::Checkpoint& checkpoint);

/// The id of the token that texts begin with; nothing when the model names none. Throws invalid_input when what it
/// names is no token.
std::optional<int32_t> begin_of_sequence(const model::Decoder& decoder);

}  // namespace salient::api
