#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <salient/salient.hpp>
#include <stop_token>
#include <string>

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
void add_threads_option(CLI::App& command, int& threads,
                        const std::string& help = "Threads; 0: all CPUs this process may use");

/// --device of the commands that run a model.
void add_device_option(CLI::App& command, std::string& device);

/// --head and --kv-cache: what a runner rounds further than the model is stored.
void add_precision_options(CLI::App& command, ModelOptions& options);

/// How tokens are chosen: --temperature, --seed and the like.
void add_sampling_options(CLI::App& command, GenerationConfig& config);

/// The flags of the commands that write replies.
struct ReplyFlags {
  ModelName model;
  ModelOptions options;
  GenerationConfig config;
  std::string system;
  std::string speculate = "on";
  std::string json_schema;
  std::string regex;
  void add_to(CLI::App& command);
  /// The flags that are words, as the configuration has them.
  GenerationConfig finished_config() const;
};

/// "; 12 of 20 drafted tokens accepted", or nothing when none was drafted.
std::string describe_drafts(const Reply& reply);

/// --format of the commands that write a folder: awq or compressed-tensors.
void add_format_option(CLI::App& command, std::string& format);

/// Work shown on standard error: messages, and progress as suits the terminal or file there.
Monitor show(std::stop_token stop);
/// The same with progress only where standard error is a terminal: for work that is short as a rule.
Monitor show_on_terminal(std::stop_token stop);

/// Prints a document on standard output; bytes that are not UTF-8 (in a path, say) are replaced.
void print_json(const nlohmann::json& document);
/// Prints a report: as JSON, or as text.
void print(const Report& report, bool json);

}  // namespace salient::cli
