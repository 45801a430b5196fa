#pragma once

#include <cstdint>
#include <optional>
#include <salient/salient.hpp>
#include <string>

#include "checkpoint/checkpoint.h"
#include "checkpoint/packed_writer.h"
#include "core/thread_pool.h"
#include "model/decoder.h"
#include "runner/cpu_runner.h"
#include "text/tokenizer.h"

namespace salient::api {

/// What the options round further than the model is stored. Throws invalid_input for a word that is not known.
void apply(const ModelOptions& options, runner::CpuRunnerOptions& runner_options);

/// A number of threads, checked.
int checked_threads(int threads);

/// "awq" or "compressed-tensors".
checkpoint::PackedFormat packed_format(const std::string& format);

/// The bytes a resident runner of this model takes, KV pages not counted.
uint64_t resident_bytes(const model::Decoder& decoder, runner::HeadPrecision head);

/// How a quantized linear is stored and, with int8 activations, run: "int4 in groups of 128".
std::string describe(const checkpoint::StoredQuantized& linear);

/// What a runner multiplies: "int4 in groups of 32, int8 activations", "not quantized, head int8 in groups of 64".
std::string describe_arithmetic(const runner::CpuRunner& runner);

/// The kernels in use: "avx2 kernels". Says so where the scalar ones are all that this CPU runs.
std::string describe_kernels();

/// One line: what runs, with which instructions, on how many threads.
std::string describe_run(const runner::CpuRunner& runner, int threads);

text::Tokenizer open_tokenizer(const checkpoint::Checkpoint& checkpoint);

/// The id of the token that texts begin with; nothing when the model names none. Throws invalid_input when what it
/// names is no token.
std::optional<int32_t> begin_of_sequence(const model::Decoder& decoder);

}  // namespace salient::api
