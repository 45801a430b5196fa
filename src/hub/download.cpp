#include "hub/download.h"

#include <salient_rust.h>

#include <chrono>
#include <string>
#include <thread>

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
};

bool report(void* context, uint64_t done, uint64_t total) {
  const auto& state = *static_cast<DownloadState*>(context);
  if (state.progress) {
    state.progress(
        {"downloading", static_cast<int64_t>(done), static_cast<int64_t>(total ? total : done), "bytes", state.name});
  }
  return !state.stop.stop_requested();
}

fs::path partial_of(const fs::path& path) {
  fs::path partial = path;
  partial += ".partial";
  return partial;
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
              const core::ProgressCallback& progress, std::stop_token stop) {
  fs::create_directories(path.parent_path());
  const std::string partial = partial_of(path).string();
  DownloadState state{progress, stop, path.filename().string()};
  std::string last_error;
  for (int attempt = 0; attempt < kTries; ++attempt) {
    if (attempt > 0) std::this_thread::sleep_for(std::chrono::milliseconds(250 << attempt));
    salient_text error{};
    const bool done = salient_download(url.data(), url.size(), partial.data(), partial.size(), report, &state, &error);
    if (!done) last_error = take(error);
    if (stop.stop_requested()) fail(ErrorKind::kCancelled, "{}: the download was interrupted", url);
    if (!done) continue;
    if (!sha256.empty()) {
      try {
        check_sha256(partial, sha256, url);
      } catch (...) {
        fs::remove(partial);
        throw;
      }
    }
    core::os::rename_durably(partial, path);
    return;
  }
  fail(ErrorKind::kNetwork, "{}: cannot be downloaded: {}", url, last_error);
}

void extract_zip_member(const fs::path& archive, const std::string& member, const fs::path& path) {
  const std::string archive_name = archive.string();
  const std::string partial = partial_of(path).string();
  salient_text error{};
  if (!salient_unzip_member(archive_name.data(), archive_name.size(), member.data(), member.size(), partial.data(),
                            partial.size(), &error)) {
    std::error_code ignored;
    fs::remove(partial, ignored);
    fail(ErrorKind::kInvalidInput, "{}: {}", archive_name, take(error));
  }
  core::os::rename_durably(partial, path);
}

}  // namespace salient::hub
