#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <salient/salient.hpp>
#include <string>
#include <vector>

#include "api/c_handle.h"

/// The objects behind the handles of the C interface of onnxruntime-genai. Their names are those of its header, so that
/// a program that was compiled against that links to these functions.

struct OgaResult {
  std::string message;
};

struct OgaSequences : salient::api::Handle<OgaSequences> {
  std::vector<std::vector<int32_t>> sequences;
};

struct OgaStringArray : salient::api::Handle<OgaStringArray> {
  std::vector<std::string> strings;
};

/// Element types, with the numbers of ONNX.
enum OgaElementType : int {
  OgaElementType_float32 = 1,
  OgaElementType_uint8 = 2,
  OgaElementType_int8 = 3,
  OgaElementType_uint16 = 4,
  OgaElementType_int16 = 5,
  OgaElementType_int32 = 6,
  OgaElementType_int64 = 7,
  OgaElementType_bool = 9,
  OgaElementType_float16 = 10,
  OgaElementType_float64 = 11,
  OgaElementType_uint32 = 12,
  OgaElementType_uint64 = 13,
  OgaElementType_bfloat16 = 16,
};

/// Memory of its own, which copies share, or that of the caller.
struct OgaTensor : salient::api::Handle<OgaTensor> {
  OgaElementType type = OgaElementType_float32;
  std::vector<int64_t> shape;
  std::shared_ptr<std::vector<std::byte>> own;
  void* data = nullptr;
};

struct OgaNamedTensors : salient::api::Handle<OgaNamedTensors> {
  std::map<std::string, OgaTensor> tensors;
};

/// A model's folder and its genai_config.json, as the caller changed it.
struct OgaConfig : salient::api::Handle<OgaConfig> {
  std::filesystem::path folder;
  nlohmann::json document;
  std::vector<std::string> providers;
};

struct OgaModel : salient::api::Handle<OgaModel> {
  OgaModel(const OgaConfig& from, salient::Model opened) : config(from), model(std::move(opened)) {}

  OgaConfig config;
  salient::Model model;
};

struct OgaTokenizer : salient::api::Handle<OgaTokenizer> {
  OgaConfig config;
  salient::Tokenizer tokenizer;
  bool add_special_tokens = false;
  bool skip_special_tokens = true;
  std::vector<int32_t> end_tokens;
};

struct OgaTokenizerStream : salient::api::Handle<OgaTokenizerStream> {
  salient::TokenStream stream;
  std::string piece;
};

namespace salient::oga {

/// The options of `search`, numbers and switches.
class Search {
 public:
  /// What they are without a configuration, then as the configuration's "search" says.
  explicit Search(const nlohmann::json& document, int64_t context_length);

  /// Throw invalid_input for an unknown name, the wrong kind, or a number that cannot be.
  void set_number(const std::string& name, double value);
  void set_switch(const std::string& name, bool value);
  double number(const std::string& name) const;
  bool get_switch(const std::string& name) const;
  int64_t whole(const std::string& name) const { return static_cast<int64_t>(number(name)); }

  /// Throws invalid_input where a generator cannot work with them.
  void check(int64_t context_length) const;
  /// In the terms of Salient, for one row of a batch. `seed` is what random_seed stands for.
  BeamOptions to_beams() const;
  GenerationConfig to_config(int64_t context_length, uint64_t seed, uint64_t row) const;

 private:
  std::map<std::string, double> numbers_;
  std::map<std::string, bool> switches_;
};

}  // namespace salient::oga

struct OgaGeneratorParams : salient::api::Handle<OgaGeneratorParams> {
  salient::oga::Search search;
  std::optional<salient::Grammar> guidance = {};
};

struct OgaGenerator : salient::api::Handle<OgaGenerator> {
  OgaGenerator(const OgaModel& model, const OgaGeneratorParams& params);

  salient::Model model;
  salient::oga::Search search;
  std::vector<int32_t> end_tokens;
  int32_t pad_token;
  std::vector<salient::Generator> rows;         ///< one a sequence of the batch
  std::vector<std::vector<int32_t>> sequences;  ///< prompt, with its padding, and reply
  std::vector<bool> ended;                      ///< which of them have
  std::vector<int32_t> next_tokens;             ///< that were chosen last
  size_t last_run = 0;                          ///< tokens that the last pass computed
  std::atomic<bool> terminated = false;         ///< by terminate_session, which any thread may call
  mutable std::mutex busy;                      ///< held by the one thread that uses the rest

  bool rewound = false;   ///< and nothing was appended since
  bool searched = false;  ///< with beams, all at once: sequences are then the replies

  size_t length() const { return sequences.empty() ? 0 : sequences.front().size(); }
  bool is_done() const;
  /// Of each sequence as many tokens, right-padded.
  void append(std::vector<std::vector<int32_t>> tokens);
  void generate();
  void rewind(size_t length);
  /// [batch, 1, vocab_size], fp32.
  std::unique_ptr<OgaTensor> logits();
  void set_logits(const OgaTensor& tensor);
  /// The output "logits" of the last pass: [batch, tokens, vocab_size], fp32.
  std::unique_ptr<OgaTensor> all_logits();

 private:
  void check_session() const;
  void search_beams();
};
