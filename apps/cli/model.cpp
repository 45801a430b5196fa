#include "cli/model.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <set>

#include "cli/pull.h"
#include "core/error.h"
#include "core/os.h"
#include "kernels/kernels.h"

namespace salient::cli {

std::string environment_name(const std::string& flag) {
  std::string name = "SALIENT_";
  for (const char c : flag.substr(flag.find_first_not_of('-'))) {
    name += c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  }
  return name;
}

CLI::Validator at_least(int64_t least) {
  const auto check = [least](const std::string& text) {
    char* end = nullptr;
    const double number = std::strtod(text.c_str(), &end);
    const bool whole_text = end != text.c_str() && *end == '\0';
    if (whole_text && number >= static_cast<double>(least)) return std::string();
    return fmt::format("{} was given, expected a number of {} or more", text, least);
  };
  return {check, ""};
}

CLI::Option* add_flag(CLI::App& command, const std::string& name, bool& value, const std::string& help) {
  return command.add_flag(name, value, help)->envname(environment_name(name));
}

void add_threads_option(CLI::App& command, int& threads) {
  add_option(command, "--threads", threads, "Threads; 0: all CPUs this process may use")->check(CLI::Range(0, 1024));
}

void RunFlags::add_to(CLI::App& command) {
  command.add_option("MODEL", model, kModelHelp)->required();
  add_threads_option(command, threads);
}

void PrecisionFlags::add_to(CLI::App& command) {
  add_option(command, "--head", head,
             "Output head: fp16 (as it is stored), or rounded at load to int8 or int4; less to read for each token")
      ->check(CLI::IsMember({"fp16", "int8", "int4"}));
  add_option(command, "--kv-cache", kv_cache, "Keys and values: fp16, or int8 in half of the memory")
      ->check(CLI::IsMember({"fp16", "int8"}));
}

void PrecisionFlags::apply_to(runner::CpuRunnerOptions& options) const {
  if (head != "fp16") options.head = head == "int8" ? runner::HeadPrecision::kInt8 : runner::HeadPrecision::kInt4;
  if (kv_cache == "int8") options.kv_dtype = core::DType::kI8;
}

void SamplingFlags::add_to(CLI::App& command) {
  add_option(command, "--temperature", options.temperature, "0: always the most likely token")->check(at_least(0));
  add_option(command, "--top-k", options.top_k, "Keep the K most likely tokens; 0: all")->check(at_least(0));
  add_option(command, "--top-p", options.top_p, "Keep the most likely tokens up to this probability; 1: all")
      ->check(at_least(0));
  add_option(command, "--seed", options.seed, "The same seed gives the same text on every machine")->check(at_least(0));
}

void add_speculate_option(CLI::App& command, std::string& speculate) {
  add_option(command, "--speculate", speculate,
             "Try several tokens at once where the text repeats itself and that is faster; the reply is the same")
      ->check(CLI::IsMember({"on", "off"}));
}

generate::Speculation speculation(const std::string& speculate) {
  return speculate == "on" ? generate::Speculation::kWhereFaster : generate::Speculation::kOff;
}

std::string describe_drafts(const generate::Reply& reply) {
  if (reply.drafted_tokens == 0) return "";
  return fmt::format("; {} of {} drafted tokens accepted", reply.accepted_tokens, reply.drafted_tokens);
}

void add_format_option(CLI::App& command, std::string& format) {
  add_option(command, "--format", format, "Of the folder written: awq (AutoAWQ) or compressed-tensors")
      ->check(CLI::IsMember({"awq", "compressed-tensors"}));
}

checkpoint::PackedFormat packed_format(const std::string& format) {
  return format == "awq" ? checkpoint::PackedFormat::kAwq : checkpoint::PackedFormat::kCompressedTensors;
}

std::shared_ptr<const model::Decoder> open_decoder(const std::filesystem::path& model, const std::stop_token& stop) {
  auto checkpoint = std::make_shared<checkpoint::Checkpoint>(checkpoint::open_checkpoint(locate_model(model, stop)));
  return std::make_shared<model::Decoder>(std::move(checkpoint));
}

uint64_t resident_bytes(const model::Decoder& decoder, runner::HeadPrecision head) {
  const checkpoint::Checkpoint& checkpoint = decoder.checkpoint();
  const auto grouped = [](uint64_t elements, int bits, int group_size) {
    constexpr uint64_t kGroupBytes = 8;  // a scale and a zero point or offset
    return elements * static_cast<uint64_t>(bits) / 8 + elements / static_cast<uint64_t>(group_size) * kGroupBytes;
  };
  const auto linear = [&](const std::string& name, int64_t rows, int64_t columns) {
    const auto elements = static_cast<uint64_t>(rows * columns);
    if (const auto found = checkpoint.quantized.find(name); found != checkpoint.quantized.end()) {
      return grouped(elements, found->second.bits, found->second.group_size);
    }
    const core::DType dtype = checkpoint.matrix(name + ".weight", rows, columns).dtype;
    return elements * static_cast<uint64_t>(core::info_of(dtype).block_bytes);
  };
  const model::DecoderSpec& spec = decoder.spec();
  const auto rounded_head = runner::choose_head_groups(decoder, head);
  uint64_t bytes =
      rounded_head
          ? grouped(static_cast<uint64_t>(spec.vocab_size * spec.hidden_size), rounded_head->bits, rounded_head->size)
          : linear(spec.tied_embeddings ? model::kEmbeddingsName : model::kHeadName, spec.vocab_size, spec.hidden_size);
  for (int64_t i = 0; i < spec.layers; ++i) {
    for (const model::LinearSlot& slot : model::linear_slots(spec)) {
      // A linear that is stored with others counts once.
      if (slot.first_row > 0) continue;
      bytes += linear(model::layer_prefix(i) + slot.name, slot.stored_rows, slot.in_features);
    }
  }
  return bytes;
}

core::ProgressCallback show_progress() {
  auto printer = std::make_shared<core::ProgressPrinter>(core::os::is_terminal(2));
  return [printer](const core::Progress& progress) { (*printer)(progress); };
}

core::ProgressCallback show_progress_on_terminal() {
  return core::os::is_terminal(2) ? show_progress() : core::ProgressCallback();
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

void note_slow_kernels() {
  static bool noted = false;
  const bool chosen = !core::os::environment("SALIENT_ISA").empty();
  if (noted || chosen || &kernels::active_kernels() != &kernels::kScalarKernels) return;
  noted = true;
  std::vector<const char*> others = kernels::kernel_names();
  others.pop_back();
  fmt::print(stderr,
             "note: this CPU has no instructions that Salient has fast kernels for ({}); the scalar ones that run "
             "instead are many times slower\n",
             fmt::join(others, ", "));
}

void say_what_runs(const runner::CpuRunner& runner, int threads) {
  note_slow_kernels();
  const model::DecoderSpec& spec = runner.spec();
  const std::string_view kv_cache = runner.kv_dtype() == core::DType::kI8    ? "int8"
                                    : runner.kv_dtype() == core::DType::kF16 ? "fp16"
                                                                             : "fp32";
  fmt::print(stderr,
             "{}: {}, {}, {} layers, {} read per token; {} of {} keys and values per token of context; {} kernels, {} "
             "thread{}\n",
             runner.decoder().checkpoint().path.string(), runner.decoder().checkpoint().format,
             describe_arithmetic(runner), spec.layers,
             core::format_bytes(static_cast<uint64_t>(runner.bytes_per_token())),
             core::format_bytes(static_cast<uint64_t>(runner.kv_bytes_per_token())), kv_cache,
             kernels::active_kernels().name, threads, threads == 1 ? "" : "s");
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

void print_json(const nlohmann::json& document) {
  fmt::print("{}\n", document.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
}

}  // namespace salient::cli
