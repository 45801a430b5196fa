#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace salient::hub {

/// OWNER/NAME[@revision][/SUB/FOLDER]: a model on a hub.
struct ModelName {
  std::string repository;         ///< "OWNER/NAME"
  std::string revision = "main";  ///< a branch, a tag, a commit, or "refs/pr/1"
  std::string path = {};          ///< of a folder or file in the repository; empty: the model has to be found there
};

/// Nothing when `text` is not written as a model's name is.
std::optional<ModelName> parse_model_name(std::string_view text);

/// The name as `parse_model_name` reads it; without the revision where that is the usual one.
std::string to_string(const ModelName& name);

/// Throws invalid_input unless `path` stays inside the folder it is relative to, on every operating system: names
/// separated by single slashes, without "..", backslashes, colons or control characters. `origin` says whose it is.
void check_relative_path(const std::string& path, const std::string& origin);

}  // namespace salient::hub
