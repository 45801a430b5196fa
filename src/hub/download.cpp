#include "hub/download.h"

#include <salient_rust.h>

#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <string>

#include "core/error.h"
#include "core/os.h"

namespace salient::hub {

using core::ErrorKind;
using core::fail;
namespace fs = std::filesystem;

namespace {

constexpr int kTries = 4;

std::string take(salient_text text) {
  std::string copy(text.data, text.size);
  salient_text_free(text);
  return copy;
}

struct DownloadState {
  const core::ProgressCallback& progress;
  std::stop_token stop;
  std::string name;
  std::exception_ptr failure = nullptr;  ///< what the callback threw: it must not unwind through the crate
};

bool report(void* context, uint64_t done, uint64_t total) {
  auto& state = *static_cast<DownloadState*>(context);
  try {
    if (state.progress) {
      state.progress(
          {"downloading", static_cast<int64_t>(done), static_cast<int64_t>(total ? total : done), "bytes", state.name});
    }
  } catch (...) {
    state.failure = std::current_exception();
    return false;
  }
  return !state.stop.stop_requested();
}

/// Whether a server's answer (0: none) lets another try succeed. 416 means that the partial file was of no use to it,
/// and that file is gone.
bool may_change(uint16_t status) {
  return status < 400 || status >= 500 || status == 408 || status == 416 || status == 429;
}

void wait(std::chrono::milliseconds time, const std::stop_token& stop) {
  std::mutex mutex;
  std::unique_lock lock(mutex);
  std::condition_variable_any().wait_for(lock, stop, time, [] { return false; });
}

fs::path partial_of(const fs::path& path) {
  fs::path partial = path;
  partial += ".partial";
  return partial;
}

/// Gives a finished file its name; one with other content than expected is removed.
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

}  // namespace

void check_sha256(const fs::path& path, const std::string& expected, const std::string& origin) {
  const std::string name = path.string();
  salient_text digest{};
  salient_text error{};
  if (!salient_sha256(name.data(), name.size(), &digest, &error)) {
    fail(ErrorKind::kInvalidInput, "{}: {}", name, take(error));
  }
  if (const std::string found = take(digest); found != expected) {
    fail(ErrorKind::kInvalidInput, "{}: its SHA-256 is {}, expected {}", origin, found, expected);
  }
}

void download(const std::string& url, const fs::path& path, const std::string& sha256,
              const core::ProgressCallback& progress, std::stop_token stop, std::chrono::milliseconds first_wait) {
  if (std::error_code error; path.has_parent_path() && (fs::create_directories(path.parent_path(), error), error)) {
    fail(ErrorKind::kInvalidInput, "{}: the folder cannot be made: {}", path.parent_path().string(), error.message());
  }
  const std::string partial = partial_of(path).string();
  DownloadState state{progress, stop, path.filename().string()};
  std::string last_error;
  uint16_t status = 0;
  for (int attempt = 0; attempt < kTries && may_change(status); ++attempt) {
    if (attempt > 0) wait(first_wait * (1 << (attempt - 1)), stop);
    if (stop.stop_requested()) fail(ErrorKind::kCancelled, "{}: the download was interrupted", url);
    salient_text error{};
    if (salient_download(url.data(), url.size(), partial.data(), partial.size(), report, &state, &status, &error)) {
      return put_in_place(partial, path, sha256, url);
    }
    last_error = take(error);
    if (state.failure) std::rethrow_exception(state.failure);
  }
  if (stop.stop_requested()) fail(ErrorKind::kCancelled, "{}: the download was interrupted", url);
  fail(ErrorKind::kNetwork, "{}: cannot be downloaded: {}", url, last_error);
}

void extract_zip_member(const fs::path& archive, const std::string& member, const fs::path& path,
                        const std::string& sha256) {
  const std::string archive_name = archive.string();
  const std::string partial = partial_of(path).string();
  salient_text error{};
  if (!salient_unzip_member(archive_name.data(), archive_name.size(), member.data(), member.size(), partial.data(),
                            partial.size(), &error)) {
    std::error_code ignored;
    fs::remove(partial, ignored);
    fail(ErrorKind::kInvalidInput, "{}: {}", archive_name, take(error));
  }
  put_in_place(partial, path, sha256, archive_name + ": " + member);
}

}  // namespace salient::hub
