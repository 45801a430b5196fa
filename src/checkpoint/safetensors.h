#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "checkpoint/checkpoint.h"

namespace salient::checkpoint {

/// Maps one safetensors file and adds its tensors. The header's length, its JSON, every dtype, shape and offset
/// are checked against the file; a tensor met twice is an error.
/// Format: https://github.com/huggingface/safetensors, "Format".
void add_safetensors_file(const std::filesystem::path& path, std::map<std::string, StoredTensor>& tensors);

/// The whole of a text file. Throws not_found.
std::string read_text_file(const std::filesystem::path& path);

/// A JSON object from a file; an empty object when an optional file is absent. Throws not_found or invalid_input.
nlohmann::json read_json_object(const std::filesystem::path& path, bool required);

/// Reads tokenizer.json, tokenizer_config.json and chat_template.jinja of a folder, those that are there.
void add_tokenizer_files(const std::filesystem::path& folder, Checkpoint& checkpoint);

/// Opens a Hugging Face folder: config.json, model.safetensors or the shards that
/// model.safetensors.index.json lists, tokenizer and generation files. Its linears may be dense, AutoAWQ, GPTQ or
/// compressed-tensors, as quantization_config says.
Checkpoint open_safetensors_folder(const std::filesystem::path& folder);

}  // namespace salient::checkpoint
