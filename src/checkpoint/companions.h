#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>

#include "checkpoint/checkpoint.h"

namespace salient::checkpoint {

/// Writes a JSON file, indented.
void write_json(const std::filesystem::path& path, const nlohmann::json& value);

/// Writes what belongs to a model without being weights or config: generation_config.json, tokenizer.json and
/// tokenizer_config.json from the checkpoint, and the other small files of its folder (special_tokens_map.json,
/// chat_template.jinja, LICENSE, ...).
void write_companions(const Checkpoint& source, const std::filesystem::path& folder);

}  // namespace salient::checkpoint
