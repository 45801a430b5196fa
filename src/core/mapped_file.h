#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

namespace salient::core {

/// A whole file mapped read-only. Throws not_found or invalid_input, naming the file.
class MappedFile {
 public:
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  const std::filesystem::path& path() const { return path_; }
  /// Gives back the memory of pages that were read; they are read again when they are needed.
  void release() const noexcept;

 private:
  std::filesystem::path path_;
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace salient::core
