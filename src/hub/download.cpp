#include "hub/download.h"

#include "core/error.h"
#include "core/os.h"
#include "rust/rust_text.h"

namespace salient::hub {

using core::ErrorKind;
using core::fail;
namespace fs = std::filesystem;

namespace {

using Digest = bool (*)(const char* path, size_t path_size, salient_text* digest, salient_text* error);

void check_digest(Digest digest, const char* kind, const fs::path& path, const std::string& expected,
                  const std::string& origin) {
  const std::string name = path.string();
  salient_text found{};
  salient_text error{};
  if (!digest(name.data(), name.size(), &found, &error))
    fail(ErrorKind::kInvalidInput, "{}: {}", name, rust::take(error));
  if (const std::string text = rust::take(found); text != expected) {
    fail(ErrorKind::kInvalidInput, "{}: its {} is {}, expected {}", origin, kind, text, expected);
  }
}

}  // namespace

void check_sha256(const fs::path& path, const std::string& expected, const std::string& origin) {
  check_digest(salient_sha256, "SHA-256", path, expected, origin);
}

void check_git_blob_id(const fs::path& path, const std::string& expected, const std::string& origin) {
  check_digest(salient_git_blob_id, "git blob id", path, expected, origin);
}

fs::path partial_of(const fs::path& path) {
  fs::path partial = path;
  partial += ".partial";
  return partial;
}

void put_in_place(const fs::path& partial, const fs::path& path, const std::string& sha256, const std::string& origin) {
  if (!sha256.empty()) {
    try {
      check_sha256(partial, sha256, origin);
    } catch (...) {
      std::error_code ignored;
      fs::remove(partial, ignored);
      throw;
    }
  }
  core::os::rename_durably(partial, path);
}

void download(const std::string& url, const fs::path& path, const std::string& sha256,
              const core::ProgressCallback& progress, const TransferOptions& options) {
  if (std::error_code error; path.has_parent_path() && (fs::create_directories(path.parent_path(), error), error)) {
    fail(ErrorKind::kInvalidInput, "{}: the folder cannot be made: {}", path.parent_path().string(), error.message());
  }
  const fs::path partial = partial_of(path);
  const std::string name = path.filename().string();
  const auto report = [&](uint64_t done, uint64_t total) {
    if (!progress) return;
    progress({"downloading", static_cast<int64_t>(done), static_cast<int64_t>(total ? total : done), "bytes", name});
  };
  const TransferOutcome outcome = get_file(url, partial, 0, options, report);
  if (outcome.local_failure) fail(ErrorKind::kInvalidInput, "{}", outcome.error);
  if (!outcome.done) fail(ErrorKind::kNetwork, "{}: cannot be downloaded: {}", url, outcome.error);
  put_in_place(partial, path, sha256, url);
}

}  // namespace salient::hub
