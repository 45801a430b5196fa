#include "cli/model.h"

#include <fmt/format.h>

#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "core/os.h"
#include "core/progress.h"

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

void add_threads_option(CLI::App& command, int& threads, const std::string& help) {
  add_option(command, "--threads", threads, help)->check(CLI::Range(0, 1024));
}

void add_device_option(CLI::App& command, std::string& device) {
  add_option(
      command, "--device", device,
      "What runs the model: cpu, gpu:0, gpu:1, ... as salient devices lists them, gpu (the best that is no "
      "software), or auto (that one if the model fits, else the CPU); for ONNX folders of the generate() API also "
      "ort-cpu, webgpu, dml, cuda, openvino or coreml, in the ONNX Runtime that SALIENT_ONNXRUNTIME names");
}

void add_precision_options(CLI::App& command, ModelOptions& options) {
  add_option(command, "--head", options.head,
             "Output head: fp16 (as it is stored), or rounded at load to int8 or int4; less to read for each token")
      ->check(CLI::IsMember({"fp16", "int8", "int4"}));
  add_option(command, "--kv-cache", options.kv_cache, "Keys and values: fp16, or int8 in half of the memory")
      ->check(CLI::IsMember({"fp16", "int8"}));
}

void add_sampling_options(CLI::App& command, GenerationConfig& config) {
  add_option(command, "--temperature", config.temperature, "0: always the most likely token")->check(at_least(0));
  add_option(command, "--top-k", config.top_k, "Keep the K most likely tokens; 0: all")->check(at_least(0));
  add_option(command, "--top-p", config.top_p, "Keep the most likely tokens up to this probability; 1: all")
      ->check(at_least(0));
  add_option(command, "--min-p", config.min_p, "Keep tokens at least this share as likely as the most likely; 0: all")
      ->check(at_least(0));
  add_option(command, "--repetition-penalty", config.repetition_penalty,
             "Above 1: what stands in the text is less likely")
      ->check(at_least(0));
  add_option(command, "--presence-penalty", config.presence_penalty, "Taken off logits of what stands in the reply");
  add_option(command, "--frequency-penalty", config.frequency_penalty, "The same for each time that it does");
  add_option(command, "--no-repeat-ngram-size", config.no_repeat_ngram_size,
             "So many tokens never stand twice in the text; 0: they may")
      ->check(at_least(0));
  add_option(command, "--seed", config.seed, "The same seed gives the same text on every machine")->check(at_least(0));
}

void ReplyFlags::add_to(CLI::App& command) {
  command.add_option("MODEL", model, kModelHelp)->required();
  add_threads_option(command, options.threads);
  add_device_option(command, options.device);
  add_precision_options(command, options);
  add_option(command, "--system", system, "The system message");
  add_option(command, "--max-tokens", config.max_tokens, "Longest reply; 0: until the model ends it")
      ->check(at_least(0));
  add_option(command, "--context", config.context, "Prompt and replies together; 0: what the model was trained for")
      ->check(at_least(0));
  add_sampling_options(command, config);
  command.add_option("--stop", config.stop_strings, "A text that ends the reply; repeatable")
      ->envname(environment_name("--stop"))
      ->allow_extra_args(false);
  CLI::Option* schema =
      add_option(command, "--json-schema", json_schema, "The reply is JSON of this schema, given as text");
  add_option(command, "--regex", regex, "The whole reply matches this regular expression")->excludes(schema);
  add_option(command, "--speculate", speculate,
             "Try several tokens at once where the text repeats itself and that is faster; the reply is the same")
      ->check(CLI::IsMember({"on", "off"}));
}

GenerationConfig ReplyFlags::finished_config() const {
  GenerationConfig finished = config;
  finished.speculate = speculate == "on";
  if (!json_schema.empty()) finished.grammar = {"json_schema", json_schema};
  if (!regex.empty()) finished.grammar = {"regex", regex};
  return finished;
}

std::string describe_drafts(const Reply& reply) {
  if (reply.drafted_tokens == 0) return "";
  return fmt::format("; {} of {} drafted tokens accepted", reply.accepted_tokens, reply.drafted_tokens);
}

void add_format_option(CLI::App& command, std::string& format) {
  add_option(command, "--format", format, "Of the folder written: awq (AutoAWQ) or compressed-tensors")
      ->check(CLI::IsMember({"awq", "compressed-tensors"}));
}

Monitor show(std::stop_token stop) {
  auto printer = std::make_shared<core::ProgressPrinter>(core::os::is_terminal(2));
  return {[printer](const Progress& progress) { (*printer)(progress); },
          [printer](std::string_view message) {
            printer->finish();
            fmt::print(stderr, "{}\n", message);
          },
          std::move(stop)};
}

Monitor show_on_terminal(std::stop_token stop) {
  Monitor monitor = show(std::move(stop));
  if (!core::os::is_terminal(2)) monitor.on_progress = {};
  return monitor;
}

void print_json(const nlohmann::json& document) {
  fmt::print("{}\n", document.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
}

void print(const Report& report, bool json) {
  if (json) {
    fmt::print("{}\n", report.json);
  } else {
    fmt::print("{}", report.text);
  }
}

}  // namespace salient::cli
