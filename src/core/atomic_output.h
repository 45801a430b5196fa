#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string_view>

namespace salient::core {

/// A file that appears under its name only when it is whole: bytes go to a temporary neighbour, which
/// `commit` flushes to disk and renames. Destroyed without `commit`, nothing is left.
/// Every failure (no permission, no space, ...) is an Error that names the file and the cause.
class AtomicFile {
 public:
  explicit AtomicFile(std::filesystem::path path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(std::span<const std::byte> bytes);
  void write(std::string_view text);
  void commit();

 private:
  std::filesystem::path path_;
  std::filesystem::path temporary_;  ///< empty once it has become `path_`
  int handle_ = -1;
};

/// A folder that appears under its name only when it is whole. Work in `path()`; `commit` flushes the
/// folder and renames it. The temporary folder is `<final name>.partial` and survives an interruption, so
/// that long work can resume in it; `discard` removes it.
class StagedFolder {
 public:
  /// Throws invalid_input when `final_path` exists already, or when its parent cannot be written.
  explicit StagedFolder(std::filesystem::path final_path);

  const std::filesystem::path& path() const { return staging_; }
  void commit();
  void discard();

 private:
  std::filesystem::path final_;
  std::filesystem::path staging_;
};

}  // namespace salient::core
