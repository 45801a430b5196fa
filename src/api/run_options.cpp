#include "api/run_options.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "api/choice.h"
#include "core/error.h"
#include "core/progress.h"
#include "kernels/kernels.h"

namespace salient::api {

void apply(const ModelOptions& options, runner::CpuRunnerOptions& runner_options) {
  check_choice("head", options.head, {"fp16", "int8", "int4"});
  check_choice("kv_cache", options.kv_cache, {"fp16", "int8"});
  if (options.head != "fp16") {
    runner_options.head = options.head == "int8" ? runner::HeadPrecision::kInt8 : runner::HeadPrecision::kInt4;
  }
  if (options.kv_cache == "int8") runner_options.kv_dtype = core::DType::kI8;
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

uint64_t resident_bytes(const model::Decoder& decoder, runner::HeadPrecision head) {
  const checkpoint::Checkpoint& checkpoint = decoder.checkpoint();
  const auto grouped = [](uint64_t elements, int bits, int group_size, uint64_t group_bytes) {
    return elements * static_cast<uint64_t>(bits) / 8 + elements / static_cast<uint64_t>(group_size) * group_bytes;
  };
  const auto linear = [&](const std::string& name, int64_t rows, int64_t columns) {
    const auto elements = static_cast<uint64_t>(rows * columns);
    if (const auto found = checkpoint.quantized.find(name); found != checkpoint.quantized.end()) {
      const uint64_t number_bytes = found->second.half_numbers ? 2 : 4;
      const uint64_t zero_bytes = found->second.read_rows(0, 1).offsets.empty() ? 1 : number_bytes;
      return grouped(elements, found->second.bits, found->second.group_size, number_bytes + zero_bytes);
    }
    const core::DType dtype = checkpoint.matrix(name + ".weight", rows, columns).dtype;
    return elements * static_cast<uint64_t>(core::info_of(dtype).block_bytes);
  };
  const model::DecoderSpec& spec = decoder.spec();
  const auto rounded_head = runner::choose_head_groups(decoder, head);
  constexpr uint64_t kRoundedGroupBytes = 3;  // a scale in fp16 and a zero point
  uint64_t bytes = rounded_head ? grouped(static_cast<uint64_t>(spec.vocab_size * spec.hidden_size), rounded_head->bits,
                                          rounded_head->size, kRoundedGroupBytes)
                                : linear(spec.tied_embeddings ? model::kEmbeddingsName : model::kHeadName,
                                         spec.vocab_size, spec.hidden_size);
  for (int64_t i = 0; i < spec.layers; ++i) {
    for (const model::LinearSlot& slot : model::linear_slots(spec)) {
      // A linear that is stored with others counts once.
      if (slot.first_row > 0) continue;
      bytes += linear(model::layer_prefix(i) + slot.name, slot.stored_rows, slot.in_features);
    }
  }
  return bytes;
}

std::string describe(const checkpoint::StoredQuantized& linear) {
  return fmt::format("int{} in groups of {}", linear.bits, linear.group_size);
}

std::string describe_arithmetic(const runner::CpuRunner& runner) {
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

std::string describe_kernels() {
  std::string text = fmt::format("{} kernels", kernels::active_kernels().name);
  std::vector<const char*> vector_sets = kernels::kernel_names();
  vector_sets.pop_back();  // the scalar one
  if (std::none_of(vector_sets.begin(), vector_sets.end(), kernels::find_kernels)) {
    text += fmt::format(" (many times slower than others: this CPU runs none of {})", fmt::join(vector_sets, ", "));
  }
  return text;
}

std::string describe_run(const runner::CpuRunner& runner, int threads) {
  const model::DecoderSpec& spec = runner.spec();
  const std::string_view kv_cache = runner.kv_dtype() == core::DType::kI8    ? "int8"
                                    : runner.kv_dtype() == core::DType::kF16 ? "fp16"
                                                                             : "fp32";
  return fmt::format(
      "{}: {}, {}, {} layers, {} read per token; {} of {} keys and values per token of context; {}, {} thread{}",
      runner.decoder().checkpoint().path.string(), runner.decoder().checkpoint().format, describe_arithmetic(runner),
      spec.layers, core::format_bytes(static_cast<uint64_t>(runner.bytes_per_token())),
      core::format_bytes(static_cast<uint64_t>(runner.kv_bytes_per_token())), kv_cache, describe_kernels(), threads,
      threads == 1 ? "" : "s");
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
