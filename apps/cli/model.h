#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <stop_token>
#include <string>

#include "checkpoint/packed_writer.h"
#include "core/progress.h"
#include "core/thread_pool.h"
#include "generate/generator.h"
#include "model/decoder.h"
#include "runner/cpu_runner.h"
#include "text/tokenizer.h"

namespace salient::cli {

/// "--max-tokens" is SALIENT_MAX_TOKENS.
std::string environment_name(const std::string& flag);

/// Adds a flag or option that can also be given as SALIENT_..., and returns it for further settings.
template <typename T>
CLI::Option* add_option(CLI::App& command, const std::string& name, T& value, const std::string& help) {
  return command.add_option(name, value, help)->envname(environment_name(name))->capture_default_str();
}
/// Checks that a number is `least` or more; says so in words where CLI11's own check prints the largest double.
CLI::Validator at_least(int64_t least);
CLI::Option* add_flag(CLI::App& command, const std::string& name, bool& value, const std::string& help);

/// What the help calls MODEL.
inline constexpr const char* kModelHelp = "Model folder, GGUF file, or name on the hub";

/// --threads of the commands that compute.
void add_threads_option(CLI::App& command, int& threads);

/// The flags of every command that runs a model.
struct RunFlags {
  std::filesystem::path model;
  int threads = 0;
  void add_to(CLI::App& command);
};

/// --head and --kv-cache: what a runner rounds further than the model is stored.
struct PrecisionFlags {
  std::string head = "fp16";
  std::string kv_cache = "fp16";
  void add_to(CLI::App& command);
  void apply_to(runner::CpuRunnerOptions& options) const;
};

struct SamplingFlags {
  generate::SamplingOptions options;
  void add_to(CLI::App& command);
};

/// --speculate of the commands that write replies: on or off.
void add_speculate_option(CLI::App& command, std::string& speculate);
generate::Speculation speculation(const std::string& speculate);
/// "; 12 of 20 drafted tokens accepted", or nothing when none was drafted.
std::string describe_drafts(const generate::Reply& reply);

/// --format of the commands that write a folder: awq or compressed-tensors.
void add_format_option(CLI::App& command, std::string& format);
checkpoint::PackedFormat packed_format(const std::string& format);

/// Opens the model at a path, or of a name (see `locate_model`).
std::shared_ptr<const model::Decoder> open_decoder(const std::filesystem::path& model, const std::stop_token& stop);

/// The bytes a resident runner of this model takes, KV pages not counted.
uint64_t resident_bytes(const model::Decoder& decoder, runner::HeadPrecision head);

/// Progress of this program on standard error, as suits the terminal or file there.
core::ProgressCallback show_progress();
/// The same where standard error is a terminal, else nothing: for work that is short as a rule.
core::ProgressCallback show_progress_on_terminal();

/// How a quantized linear is stored and, with int8 activations, run: "int4 in groups of 128".
std::string describe(const checkpoint::StoredQuantized& linear);

/// What a runner multiplies: "int4 in groups of 32, int8 activations", "not quantized, head int8 in groups of 64".
std::string describe_arithmetic(const runner::CpuRunner& runner);

/// Says on standard error, once, when the scalar kernels run because this CPU is fit for no others.
void note_slow_kernels();

/// One line on standard error, besides that note: what runs, with which instructions, on how many threads.
void say_what_runs(const runner::CpuRunner& runner, int threads);

text::Tokenizer open_tokenizer(const checkpoint::Checkpoint& checkpoint);

/// The id of the token that texts begin with; nothing when the model names none. Throws invalid_input when what it
/// names is no token.
std::optional<int32_t> begin_of_sequence(const model::Decoder& decoder);

/// Prints a document on standard output; bytes that are not UTF-8 (in a path, say) are replaced.
void print_json(const nlohmann::json& document);

}  // namespace salient::cli
