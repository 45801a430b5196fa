#include "hub/cache.h"

#include <algorithm>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "core/atomic_output.h"
#include "core/error.h"
#include "core/folder.h"
#include "core/os.h"

namespace salient::hub {

using core::ErrorKind;
using core::fail;
namespace fs = std::filesystem;

namespace {

constexpr std::string_view kFolderPrefix = "models--";

std::string folder_name(const std::string& repository) {
  const size_t slash = repository.find('/');
  return std::string(kFolderPrefix) + repository.substr(0, slash) + "--" + repository.substr(slash + 1);
}

std::string read_small_file(const fs::path& path) {
  constexpr size_t kMostBytes = 1 << 20;
  std::ifstream file(path, std::ios::binary);
  std::string text(kMostBytes, '\0');
  file.read(text.data(), kMostBytes);
  text.resize(static_cast<size_t>(std::max<std::streamsize>(file.gcount(), 0)));
  return text;
}

std::string first_word(const std::string& text) {
  std::istringstream stream(text);
  std::string word;
  stream >> word;
  return word;
}

/// The subfolders or files of a folder, sorted; none when it cannot be read.
std::vector<fs::path> entries_of(const fs::path& folder) {
  std::error_code ignored;
  return core::entries_of(folder, ignored);
}

/// "license: mit" in the block between two lines "---" at the top of a model card.
std::string license_in_card(const std::string& card) {
  std::istringstream lines(card);
  std::string line;
  if (!std::getline(lines, line) || !line.starts_with("---")) return {};
  while (std::getline(lines, line) && !line.starts_with("---")) {
    constexpr std::string_view kField = "license:";
    if (line.starts_with(kField)) return first_word(line.substr(kField.size()));
  }
  return {};
}

/// "awq", "gptq", ... of a folder whose config.json says so; else "safetensors".
std::string safetensors_format(const fs::path& folder) {
  const auto config = nlohmann::json::parse(read_small_file(folder / "config.json"), nullptr, false);
  if (!config.is_object()) return "safetensors";
  const auto quantization = config.find("quantization_config");
  if (quantization == config.end() || !quantization->is_object()) return "safetensors";
  const auto method = quantization->find("quant_method");
  return method != quantization->end() && method->is_string() ? method->get<std::string>() : "safetensors";
}

CachedModel describe(const ModelName& name, const std::string& commit, const fs::path& snapshot,
                     const FileSelection& selection) {
  CachedModel model;
  model.name = name;
  model.commit = commit;
  model.path = selection.path.empty() ? snapshot : snapshot / selection.path;
  model.format = selection.format;
  model.name.path = selection.path;
  if (selection.format == "safetensors") model.format = safetensors_format(model.path);
  model.license = license_in_card(read_small_file(snapshot / "README.md"));
  for (const RemoteFile& file : selection.files) model.bytes += file.size;
  return model;
}

/// Every model of one commit. A part of a snapshot that holds no whole model is passed over.
void list_commit(const CachedRepository& repository, ModelName name, const std::string& commit,
                 std::vector<CachedModel>& models) {
  const std::vector<RemoteFile> files = repository.files_of(commit);
  for (const std::string& path : models_in(files)) {
    name.path = path;
    try {
      models.push_back(describe(name, commit, repository.snapshot(commit), select_files(files, name, {})));
    } catch (const core::Error&) {
      continue;
    }
  }
}

}  // namespace

CachedRepository::CachedRepository(fs::path cache, std::string repository)
    : cache_(std::move(cache)), folder_(cache_ / folder_name(repository)) {}

std::optional<std::string> CachedRepository::commit_of(const std::string& revision) const {
  const fs::path ref = folder_ / "refs" / revision;
  std::error_code error;
  if (fs::is_regular_file(ref, error)) {
    const std::string commit = first_word(read_small_file(ref));
    if (fs::is_directory(snapshot(commit), error) && !commit.empty()) return commit;
  }
  if (fs::is_directory(snapshot(revision), error)) return revision;
  return std::nullopt;
}

void CachedRepository::set_commit(const std::string& revision, const std::string& commit) const {
  if (revision == commit || commit_of(revision) == commit) return;
  const fs::path ref = folder_ / "refs" / revision;
  std::error_code error;
  fs::create_directories(ref.parent_path(), error);
  core::AtomicFile file(ref);
  file.write(commit);
  file.commit();
}

fs::path CachedRepository::blob(const std::string& etag) const {
  return folder_ / "blobs" / etag;
}

fs::path CachedRepository::incomplete(const std::string& etag) const {
  return folder_ / "blobs" / (etag + ".incomplete");
}

fs::path CachedRepository::lock(const std::string& etag) const {
  return cache_ / ".locks" / folder_.filename() / (etag + ".lock");
}

fs::path CachedRepository::snapshot(const std::string& commit) const {
  return folder_ / "snapshots" / commit;
}

std::vector<RemoteFile> CachedRepository::files_of(const std::string& commit) const {
  std::vector<RemoteFile> files;
  const fs::path root = snapshot(commit);
  std::error_code error;
  for (const fs::path& path : core::files_below(root, error)) {
    std::error_code unreadable;
    const uintmax_t size = fs::file_size(path, unreadable);  // of what a link leads to
    if (!unreadable) files.push_back({.path = path.lexically_relative(root).generic_string(), .size = size});
  }
  std::sort(files.begin(), files.end(), [](const RemoteFile& a, const RemoteFile& b) { return a.path < b.path; });
  return files;
}

void CachedRepository::link(const std::string& commit, const RemoteFile& file) const {
  const fs::path name = snapshot(commit) / file.path;
  std::error_code error;
  if (fs::exists(name, error) && fs::file_size(name, error) == file.size) return;
  fs::create_directories(name.parent_path(), error);
  fs::remove(name, error);  // a link to a blob that is gone
  const fs::path target = blob(file.etag);
  fs::create_symlink(target.lexically_relative(name.parent_path()), name, error);
  if (error) fs::create_hard_link(target, name, error);
  if (error) fs::copy_file(target, name, fs::copy_options::overwrite_existing, error);
  // Another process may have made the same name meanwhile.
  std::error_code missing;
  if (error && !fs::exists(name, missing)) {
    fail(ErrorKind::kInvalidInput, "{}: cannot be made: {}", name.string(), error.message());
  }
}

void CachedRepository::make_folders() const {
  for (const fs::path& folder : {folder_ / "blobs", folder_ / "refs", folder_ / "snapshots", lock("x").parent_path()}) {
    std::error_code error;
    fs::create_directories(folder, error);
    if (error) {
      fail(ErrorKind::kInvalidInput, "{}: the folder cannot be made: {}; HF_HUB_CACHE names another place",
           folder.string(), error.message());
    }
  }
}

std::optional<CachedModel> find_in_cache(const ModelName& name, const std::string& device, const fs::path& cache) {
  const CachedRepository repository(cache, name.repository);
  const auto commit = repository.commit_of(name.revision);
  if (!commit) return std::nullopt;
  try {
    const FileSelection selection = select_files(repository.files_of(*commit), name, device);
    return describe(name, *commit, repository.snapshot(*commit), selection);
  } catch (const core::Error&) {
    return std::nullopt;
  }
}

std::vector<CachedModel> list_cache(const fs::path& cache) {
  std::vector<CachedModel> models;
  for (const fs::path& folder : entries_of(cache)) {
    const std::string folder_text = folder.filename().string();
    if (!folder_text.starts_with(kFolderPrefix)) continue;
    const std::string repository = folder_text.substr(kFolderPrefix.size());
    const size_t separator = repository.find("--");
    if (separator == std::string::npos) continue;
    const auto name = parse_model_name(repository.substr(0, separator) + "/" + repository.substr(separator + 2));
    if (!name) continue;
    const CachedRepository cached(cache, name->repository);
    const auto main = cached.commit_of(name->revision);
    for (const fs::path& snapshot : entries_of(folder / "snapshots")) {
      const std::string commit = snapshot.filename().string();
      list_commit(cached, {name->repository, main == commit ? name->revision : commit}, commit, models);
    }
  }
  return models;
}

}  // namespace salient::hub
