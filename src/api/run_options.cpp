#include "api/run_options.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <nlohmann/json.hpp>
#include <set>

#include "api/choice.h"
#include "core/error.h"
#include "core/progress.h"

namespace salient::api {

device::RunnerOptions runner_options(const ModelOptions& options, const Monitor& monitor) {
  check_choice("head", options.head, {"fp16", "int8", "int4"});
  check_choice("kv_cache", options.kv_cache, {"fp16", "int8"});
  device::RunnerOptions result{.device = device::parse_device(options.device), .progress = monitor.on_progress};
  if (options.head != "fp16") {
    result.head = options.head == "int8" ? runner::HeadPrecision::kInt8 : runner::HeadPrecision::kInt4;
  }
  if (options.kv_cache == "int8") result.kv_dtype = core::DType::kI8;
  return result;
}

int checked_threads(int threads) {
  constexpr int kMostThreads = 1024;
  if (threads >= 0 && threads <= kMostThreads) return threads;
  core::fail(core::ErrorKind::kInvalidInput, "threads is {}, expected 0 to {}", threads, kMostThreads);
}

checkpoint::PackedFormat packed_format(const std::string& format) {
  check_choice("format", format, {"awq", "compressed-tensors"});
  return format == "awq" ? checkpoint::PackedFormat::kAwq : checkpoint::PackedFormat::kCompressedTensors;
}

std::string describe(const checkpoint::StoredQuantized& linear) {
  return fmt::format("int{} in groups of {}", linear.bits, linear.group_size);
}

std::string describe_arithmetic(const runner::ModelRunner& runner) {
  const checkpoint::Checkpoint& checkpoint = runner.decoder().checkpoint();
  std::string head;
  if (const auto& groups = runner.rounded_head()) {
    head = fmt::format(", head int{} in groups of {}", groups->bits, groups->size);
  }
  if (checkpoint.quantized.empty()) return "not quantized" + head;
  std::set<std::string> kinds;
  for (const auto& [name, linear] : checkpoint.quantized) kinds.insert(describe(linear));
  const bool rounded = runner.activations() == runner::Activations::kInt8;
  return fmt::format("{}, {}{}", fmt::join(kinds, " and "), rounded ? "int8 activations" : "dequantized to fp32", head);
}

std::string describe_run(const runner::ModelRunner& runner) {
  const model::DecoderSpec& spec = runner.spec();
  const std::string_view kv_cache = runner.kv_dtype() == core::DType::kI8    ? "int8"
                                    : runner.kv_dtype() == core::DType::kF16 ? "fp16"
                                                                             : "fp32";
  return fmt::format(
      "{}: {}, {}, {} layers, {} read per token; {} of {} keys and values per token of context; {}",
      runner.decoder().checkpoint().path.string(), runner.decoder().checkpoint().format, describe_arithmetic(runner),
      spec.layers, core::format_bytes(static_cast<uint64_t>(runner.bytes_per_token())),
      core::format_bytes(static_cast<uint64_t>(runner.kv_bytes_per_token())), kv_cache, runner.device_description());
}

text::Tokenizer open_tokenizer(const checkpoint::Checkpoint& checkpoint) {
  return {checkpoint.tokenizer_json, checkpoint.path.string()};
}

std::optional<int32_t> begin_of_sequence(const model::Decoder& decoder) {
  const checkpoint::Checkpoint& checkpoint = decoder.checkpoint();
  for (const nlohmann::json* source : {&checkpoint.generation_config, &checkpoint.config}) {
    const nlohmann::json id = source->value("bos_token_id", nlohmann::json());
    if (id.is_null()) continue;
    if (!id.is_number_integer() || id < 0 || id >= decoder.spec().vocab_size) {
      core::fail(core::ErrorKind::kInvalidInput, "{}: bos_token_id is {}, expected a token id below {}",
                 checkpoint.path.string(), id.dump(), decoder.spec().vocab_size);
    }
    return id.get<int32_t>();
  }
  return std::nullopt;
}

}  // namespace salient::api
