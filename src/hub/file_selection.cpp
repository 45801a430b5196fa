#include "hub/file_selection.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <map>
#include <set>
#include <string_view>

#include "core/error.h"

namespace salient::hub {

using core::ErrorKind;
using core::fail;

namespace {

/// What a folder of safetensors needs besides its weights.
constexpr std::array<std::string_view, 16> kModelFiles = {"config.json",
                                                          "generation_config.json",
                                                          "model.safetensors.index.json",
                                                          "quantize_config.json",
                                                          "quant_config.json",
                                                          "tokenizer.json",
                                                          "tokenizer_config.json",
                                                          "tokenizer.model",
                                                          "vocab.json",
                                                          "special_tokens_map.json",
                                                          "added_tokens.json",
                                                          "merges.txt",
                                                          "vocab.txt",
                                                          "chat_template.jinja",
                                                          "chat_template.json",
                                                          "README.md"};

/// Weights of other programs, and what training leaves behind.
constexpr std::array<std::string_view, 13> kUnwanted = {".bin", ".pt",     ".pth", ".msgpack", ".h5",  ".ckpt", ".pkl",
                                                        ".ot",  ".tflite", ".py",  ".nemo",    ".npz", ".md"};

constexpr std::array<std::string_view, 7> kForeignWeights = {".bin", ".pt",   ".pth", ".msgpack",
                                                             ".h5",  ".ckpt", ".onnx"};

std::string folder_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "" : path.substr(0, slash);
}

std::string name_of(const std::string& path) {
  return path.substr(path.rfind('/') + 1);
}

std::string lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

template <size_t kSize>
bool ends_with_any(const std::string& name, const std::array<std::string_view, kSize>& endings) {
  return std::any_of(endings.begin(), endings.end(), [&](std::string_view ending) { return name.ends_with(ending); });
}

bool is_license(const std::string& name) {
  const std::string text = lower(name);
  return text.starts_with("license") || text.starts_with("notice");
}

/// "model.safetensors", "model-00001-of-00003.safetensors": not the second copy that some repositories have under
/// another name.
bool is_weight(const std::string& name) {
  return name.starts_with("model") && name.ends_with(".safetensors");
}

/// Which kind of model a folder holds, by the names of its files; empty: none.
std::string format_of(const std::set<std::string>& names) {
  const auto any = [&](const auto& test) { return std::any_of(names.begin(), names.end(), test); };
  const bool graph = any([](const std::string& name) { return name.ends_with(".onnx"); });
  if (names.contains("genai_config.json") && graph) return "onnx";
  if (names.contains("config.json") && any(is_weight)) return "safetensors";
  if (any([](const std::string& name) { return name.ends_with(".gguf"); })) return "gguf";
  return {};
}

using Folders = std::map<std::string, std::set<std::string>>;

bool is_below(const std::string& path, const std::string& folder) {
  return folder.empty() || path == folder || path.starts_with(folder + "/");
}

/// Every model below `folder`, as paths that name one.
std::vector<std::string> models_below(const Folders& folders, const std::string& folder) {
  std::vector<std::string> models;
  for (const auto& [path, names] : folders) {
    if (!is_below(path, folder)) continue;
    const std::string format = format_of(names);
    if (format == "safetensors" || format == "onnx") models.push_back(path);
    if (format != "gguf") continue;
    for (const std::string& name : names) {
      if (name.ends_with(".gguf")) models.push_back(path.empty() ? name : path + "/" + name);
    }
  }
  return models;
}

std::string list(const ModelName& name, const std::vector<std::string>& paths) {
  constexpr size_t kMostListed = 40;
  std::vector<std::string> names;
  for (const std::string& path : paths) {
    if (names.size() == kMostListed) break;
    names.push_back(to_string({name.repository, name.revision, path}));
  }
  return fmt::format("{}{}", fmt::join(names, ", "), paths.size() > kMostListed ? ", ..." : "");
}

[[noreturn]] void fail_without_model(const std::vector<RemoteFile>& files, const Folders& folders,
                                     const ModelName& name) {
  const std::vector<std::string> models = models_below(folders, "");
  if (!name.path.empty() && !models.empty()) {
    fail(ErrorKind::kNotFound, "{}: there is no model at {}; there are {}", name.repository, name.path,
         list(name, models));
  }
  for (const RemoteFile& file : files) {
    if (!is_below(file.path, name.path) || !ends_with_any(file.path, kForeignWeights)) continue;
    fail(ErrorKind::kUnsupported,
         "{}: its weights are in {}; Salient reads safetensors, GGUF and ONNX folders of the generate() API",
         to_string(name), file.path);
  }
  fail(ErrorKind::kNotFound,
       "{}: holds no model: neither safetensors, nor GGUF, nor an ONNX folder of the generate() API", to_string(name));
}

/// The path of the one model that `name` stands for.
std::string find_model(const std::vector<RemoteFile>& files, const Folders& folders, const ModelName& name,
                       const std::string& device) {
  const bool is_file =
      std::any_of(files.begin(), files.end(), [&](const RemoteFile& f) { return f.path == name.path; });
  if (is_file && name.path.ends_with(".gguf")) return name.path;
  if (const auto here = folders.find(name.path); here != folders.end()) {
    const std::string format = format_of(here->second);
    if (format == "safetensors" || format == "onnx") return name.path;
  }
  std::vector<std::string> models = models_below(folders, name.path);
  if (models.empty()) fail_without_model(files, folders, name);
  if (models.size() > 1) {
    std::vector<std::string> suited;
    std::copy_if(models.begin(), models.end(), std::back_inserter(suited), [&](const std::string& path) {
      return lower(path).find(device) != std::string::npos && !path.ends_with(".gguf");
    });
    if (suited.size() == 1) models = suited;
  }
  if (models.size() > 1) {
    fail(ErrorKind::kInvalidInput, "{}: holds {} models, name one: {}", to_string(name), models.size(),
         list(name, models));
  }
  return models.front();
}

bool belongs(const std::string& name, const std::string& format) {
  if (is_license(name) || name == "README.md") return true;
  if (format == "onnx") return !ends_with_any(lower(name), kUnwanted) && !name.ends_with(".safetensors");
  return is_weight(name) || std::find(kModelFiles.begin(), kModelFiles.end(), name) != kModelFiles.end();
}

/// Throws when one of "-00001-of-00003" is not there.
void check_shards(const FileSelection& selection, const ModelName& name) {
  std::map<std::string, size_t> found;
  for (const RemoteFile& file : selection.files) {
    const std::string stem = file.path.substr(0, file.path.rfind('.'));
    const size_t of = stem.rfind("-of-");
    if (!file.path.ends_with(".safetensors") || of == std::string::npos) continue;
    ++found[stem.substr(of + 4)];
  }
  for (const auto& [total, count] : found) {
    if (std::to_string(count) == total.substr(std::min(total.find_first_not_of('0'), total.size()))) continue;
    fail(ErrorKind::kNotFound, "{}: has {} of the {} parts of its weights", to_string(name), count, total);
  }
}

Folders by_folder(const std::vector<RemoteFile>& files) {
  Folders folders;
  for (const RemoteFile& file : files) folders[folder_of(file.path)].insert(name_of(file.path));
  return folders;
}

}  // namespace

std::vector<std::string> models_in(const std::vector<RemoteFile>& files) {
  return models_below(by_folder(files), "");
}

FileSelection select_files(const std::vector<RemoteFile>& files, const ModelName& name, const std::string& device) {
  Folders folders = by_folder(files);
  FileSelection selection;
  selection.path = find_model(files, folders, name, device);
  const bool gguf = selection.path.ends_with(".gguf");
  const std::string folder = gguf ? folder_of(selection.path) : selection.path;
  selection.format = gguf ? "gguf" : format_of(folders[folder]);
  for (const RemoteFile& file : files) {
    const std::string file_name = name_of(file.path);
    const std::string place = folder_of(file.path);
    const bool about = is_license(file_name) || file_name == "README.md";
    const bool wanted = gguf ? file.path == selection.path : place == folder && belongs(file_name, selection.format);
    if (wanted || (about && (place.empty() || place == folder))) selection.files.push_back(file);
  }
  check_shards(selection, name);
  return selection;
}

}  // namespace salient::hub
