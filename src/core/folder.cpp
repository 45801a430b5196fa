#include "core/folder.h"

#include <algorithm>

#include "core/error.h"
#include "core/os.h"

namespace salient::core {

namespace fs = std::filesystem;

namespace {

bool is_folder_itself(const fs::path& path) {
  std::error_code ignored;
  return fs::is_directory(fs::symlink_status(path, ignored));
}

void add_files(const fs::path& folder, std::vector<fs::path>& files, std::error_code& error) {
  for (const fs::path& path : os::list_folder(folder, error)) {
    std::error_code ignored;
    if (is_folder_itself(path)) {
      add_files(path, files, error);
    } else if (fs::is_regular_file(path, ignored)) {
      files.push_back(path);
    }
    if (error) return;
  }
}

}  // namespace

std::vector<fs::path> entries_of(const fs::path& folder, std::error_code& error) {
  std::vector<fs::path> paths = os::list_folder(folder, error);
  std::sort(paths.begin(), paths.end());
  return paths;
}

std::vector<fs::path> entries_of(const fs::path& folder) {
  std::error_code error;
  std::vector<fs::path> paths = entries_of(folder, error);
  if (error) fail(ErrorKind::kInvalidInput, "{}: cannot be read: {}", folder.string(), error.message());
  return paths;
}

std::vector<fs::path> files_below(const fs::path& folder, std::error_code& error) {
  std::vector<fs::path> files;
  add_files(folder, files, error);
  std::sort(files.begin(), files.end());
  return files;
}

void remove_folder(const fs::path& folder) noexcept {
  std::error_code ignored;
  if (is_folder_itself(folder)) {
    for (const fs::path& path : os::list_folder(folder, ignored)) remove_folder(path);
  }
  fs::remove(folder, ignored);
}

}  // namespace salient::core
