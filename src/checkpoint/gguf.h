#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "checkpoint/checkpoint.h"

namespace salient::checkpoint {

/// A metadata value of a GGUF file. Integers of all widths become int64 (uint64 above its range is an error), both
/// float widths double; arrays hold one of the listed element kinds.
using GgufValue = std::variant<int64_t, double, bool, std::string, std::vector<int64_t>, std::vector<double>,
                               std::vector<std::string>>;

/// A GGUF file (version 2 or 3) taken apart: metadata and tensor table, both checked against the file's size.
/// Format: the ggml project's docs/gguf.md.
struct GgufFile {
  std::shared_ptr<const core::MappedFile> file;
  std::map<std::string, GgufValue> metadata;
  std::map<std::string, StoredTensor> tensors;  ///< under the names the file uses

  const std::string& string(const std::string& key) const;
  std::string string_or(const std::string& key, const std::string& otherwise) const;
  int64_t integer(const std::string& key) const;
  int64_t integer_or(const std::string& key, int64_t otherwise) const;
  double number(const std::string& key) const;
  double number_or(const std::string& key, double otherwise) const;
  bool flag_or(const std::string& key, bool otherwise) const;
  const std::vector<std::string>* strings(const std::string& key) const;  ///< nullptr when absent
  const std::vector<int64_t>* integers(const std::string& key) const;
  const std::vector<double>* numbers(const std::string& key) const;
};

GgufFile parse_gguf(const std::filesystem::path& path);

/// Opens a GGUF model as a checkpoint in Hugging Face terms: names, config, tokenizer, generation settings
/// (gguf_tensors.cpp).
Checkpoint open_gguf(const std::filesystem::path& path);

/// Lists the block-quantized matrices of a checkpoint as quantized linears, exactly (gguf_quantized.cpp).
void describe_gguf_linears(Checkpoint& checkpoint);

/// config.json as transformers would have it (gguf_config.cpp).
nlohmann::json make_config(const GgufFile& gguf);
nlohmann::json make_generation_config(const GgufFile& gguf);

/// tokenizer.json and tokenizer_config.json equal in behaviour to the file's vocabulary (gguf_tokenizer.cpp).
std::string make_tokenizer_json(const GgufFile& gguf);
nlohmann::json make_tokenizer_config(const GgufFile& gguf);

/// The tokenizer.ggml.pre of a tokenizer.json's "pre_tokenizer"; empty where GGUF has no name for it that Salient knows
/// (gguf_tokenizer.cpp).
std::string find_pre_tokenizer_name(const nlohmann::json& pre_tokenizer);

}  // namespace salient::checkpoint
