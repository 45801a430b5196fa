#include "core/atomic_output.h"

#include <system_error>
#include <utility>

#include "core/error.h"
#include "core/folder.h"
#include "core/os.h"

namespace salient::core {

namespace fs = std::filesystem;

AtomicFile::AtomicFile(fs::path path) : path_(std::move(path)), temporary_(path_) {
  temporary_ += ".partial";
  handle_ = os::create_file(temporary_);
}

AtomicFile::~AtomicFile() {
  if (handle_ >= 0) os::close_file(handle_);
  if (temporary_.empty()) return;
  std::error_code ignored;
  fs::remove(temporary_, ignored);
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  os::write_file(handle_, bytes, path_);
}

void AtomicFile::write(std::string_view text) {
  write(std::as_bytes(std::span(text)));
}

void AtomicFile::commit() {
  os::flush_file(handle_, path_);
  os::close_file(std::exchange(handle_, -1));
  os::rename_durably(temporary_, path_);
  temporary_.clear();
}

StagedFolder::StagedFolder(fs::path final_path) : final_(std::move(final_path)) {
  while (!final_.has_filename() && final_.has_relative_path()) final_ = final_.parent_path();
  if (!final_.has_filename()) fail(ErrorKind::kInvalidInput, "the output folder \"{}\" has no name", final_.string());
  std::error_code error;
  if (fs::exists(final_, error)) {
    fail(ErrorKind::kInvalidInput, "{}: exists already; name a new folder or remove this one", final_.string());
  }
  staging_ = final_;
  staging_ += ".partial";
  fs::create_directories(staging_, error);
  if (error) {
    fail(ErrorKind::kInvalidInput, "{}: the output folder cannot be made: {}", final_.string(), error.message());
  }
}

void StagedFolder::commit() {
  os::rename_durably(staging_, final_);
}

void StagedFolder::discard() {
  remove_folder(staging_);
}

}  // namespace salient::core
