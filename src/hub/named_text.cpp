#include "hub/named_text.h"

#include "core/error.h"
#include "core/file_lock.h"
#include "core/os.h"
#include "hub/archive.h"
#include "hub/download.h"
#include "hub/registry.h"
#include "hub/settings.h"

namespace salient::hub {

using core::ErrorKind;
using core::fail;
namespace fs = std::filesystem;

namespace {

/// A file that is not needed for longer than this object lives.
struct RemovedFile {
  fs::path path;
  ~RemovedFile() {
    std::error_code ignored;
    fs::remove(path, ignored);
  }
};

std::string endpoint_of(const TextSource& source, const Settings& settings) {
  if (source.server == "hub") return settings.endpoint;
  const std::string own = core::os::environment("SALIENT_TEXT_ENDPOINT");
  return own.empty() ? "https://raw.githubusercontent.com" : own;
}

void fetch(const TextSource& source, const std::string& sha256, const fs::path& path,
           const core::ProgressCallback& progress, const std::stop_token& stop) {
  const Settings settings = read_settings();
  const std::string url = endpoint_of(source, settings) + source.path;
  if (settings.offline) fail(ErrorKind::kNetwork, "{}: HF_HUB_OFFLINE forbids to download it", url);
  const TransferOptions options{.token = source.server == "hub" ? settings.token : std::string(),
                                .stall_timeout = settings.stall_timeout,
                                .stop = stop};
  if (source.kind == "file") return download(url, path, sha256, progress, options);
  fs::path archive = path;
  archive += "." + source.kind;
  const RemovedFile removed{archive};
  download(url, archive, "", progress, options);
  if (source.kind == "zip") return extract_zip_member(archive, source.member, path, sha256);
  if (source.kind == "parquet") return extract_parquet_column(archive, source.column, source.rows, path, sha256);
  unpack(archive, source.kind, path, sha256);
}

/// Held by the process that downloads a text.
fs::path lock_of(const std::string& file) {
  const fs::path folder = core::os::cache_folder() / "locks";
  if (std::error_code error; fs::create_directories(folder, error), error) {
    fail(ErrorKind::kInvalidInput, "{}: the folder cannot be made: {}", folder.string(), error.message());
  }
  return folder / (file + ".lock");
}

/// Asks one source after another; what all of them answered is in the sentence.
void fetch_from_any(const KnownText& text, const fs::path& path, const core::ProgressCallback& progress,
                    const std::stop_token& stop) {
  std::string sentences;
  ErrorKind kind = ErrorKind::kNetwork;
  for (const TextSource& source : text.sources) {
    try {
      return fetch(source, text.sha256, path, progress, stop);
    } catch (const core::Error& error) {
      if (error.kind() == ErrorKind::kCancelled) throw;
      sentences += (sentences.empty() ? "" : "; ") + std::string(error.what());
      kind = error.kind();
    }
  }
  fail(kind, "{}; without a network, put {} into a folder and name it with --data-dir", sentences, text.file);
}

}  // namespace

fs::path locate_text(const std::string& name, const fs::path& data_dir, const core::ProgressCallback& progress,
                     std::stop_token stop) {
  const KnownText* text = find_known_text(name);
  if (!text) {
    std::string known;
    for (const KnownText& one : registry().texts) known += (known.empty() ? "" : ", ") + one.name;
    fail(ErrorKind::kInvalidInput, "text {} is unknown, expected one of {}", name, known);
  }
  if (!data_dir.empty()) {
    const fs::path path = data_dir / text->file;
    if (!fs::exists(path))
      fail(ErrorKind::kNotFound, "{}: does not exist; it should hold the text {}", path.string(), name);
    return path;
  }
  const fs::path path = core::os::cache_folder() / "texts" / text->file;
  if (fs::exists(path)) return path;
  core::FileLock lock(lock_of(text->file));
  if (!lock.lock(stop)) fail(ErrorKind::kCancelled, "{}: the download was interrupted", text->file);
  if (!fs::exists(path)) fetch_from_any(*text, path, progress, stop);
  return path;
}

}  // namespace salient::hub
