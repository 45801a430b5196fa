#pragma once

#include <filesystem>
#include <stop_token>

namespace salient::core {

/// A lock between processes: an empty file that one of them holds. Released when the object or the process ends; the
/// file stays. It is the lock of Python's `filelock`, so that programs which use that are kept out too.
class FileLock {
 public:
  /// Opens the file, and makes it where there is none. Throws invalid_input, naming it.
  explicit FileLock(const std::filesystem::path& path);
  ~FileLock();
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

  /// Takes the lock when nobody holds it; says whether it is held now.
  bool try_lock();
  /// Waits until nobody else holds the lock, and takes it; false when `stop` was requested before that.
  bool lock(const std::stop_token& stop);

 private:
  std::filesystem::path path_;
  int handle_ = -1;
  bool is_held_ = false;
};

}  // namespace salient::core
