#pragma once

#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace salient::runner::ort {

/// What genai_config.json says to the one who runs a decoder: the names that the graph gives its inputs and outputs,
/// and how the session is to be made.
struct GenaiDecoder {
  std::string input_ids;
  std::string attention_mask;
  std::string position_ids;
  std::string past_keys;  ///< with "%d" for the layer
  std::string past_values;
  std::string logits;
  std::string present_keys;
  std::string present_values;
  /// The keys and values that a run returns may be in the buffers of those that it is given.
  bool shares_buffers = false;
  std::map<std::string, std::string> session_entries;  ///< those that ONNX Runtime knows by such keys
  std::string optimization_level;                      ///< "ORT_ENABLE_ALL", ...; empty: the library's own
  std::map<std::string, std::string> provider_options;
};

/// `registered` is the provider whose options are wanted, upper case or lower. Throws invalid_input or unsupported,
/// naming `origin` and the field. Of the session's options those of logs, profiles, threads and the CPU's memory are
/// not taken.
/// Format: https://onnxruntime.ai/docs/genai/reference/config.html.
GenaiDecoder read_genai_decoder(const nlohmann::json& config, const std::string& registered, const std::string& origin);

/// "past_key_values.%d.key" for a layer.
std::string layer_name(const std::string& pattern, int64_t layer);

}  // namespace salient::runner::ort
