#include "hub/pull.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>

#include "core/error.h"
#include "core/file_lock.h"
#include "core/os.h"
#include "hub/download.h"

namespace salient::hub {

using core::ErrorKind;
using core::fail;
namespace fs = std::filesystem;

namespace {

constexpr size_t kFilesAtATime = 4;

TransferOptions transfer_options(const Settings& settings, std::stop_token stop) {
  return {.token = settings.token, .stall_timeout = settings.stall_timeout, .stop = std::move(stop)};
}

/// The size of a file; 0 when there is none.
uint64_t size_on_disk(const fs::path& path) {
  std::error_code error;
  const uintmax_t size = fs::file_size(path, error);
  return error ? 0 : size;
}

bool is_here(const fs::path& blob, const RemoteFile& file) {
  std::error_code error;
  return fs::is_regular_file(blob, error) && fs::file_size(blob, error) == file.size;
}

/// The bytes of all files, as several threads bring them.
class SharedProgress {
 public:
  SharedProgress(const core::ProgressCallback& progress, uint64_t total) : progress_(progress), total_(total) {}

  /// `before` is what this file counted for until now; returns what it counts for from now on.
  uint64_t advance(uint64_t before, uint64_t now, const std::string& file) {
    const std::lock_guard lock(mutex_);
    done_ += now - before;
    if (progress_) {
      progress_({"downloading", static_cast<int64_t>(done_), static_cast<int64_t>(total_), "bytes", file});
    }
    return now;
  }

 private:
  const core::ProgressCallback& progress_;
  uint64_t total_;
  std::mutex mutex_;
  uint64_t done_ = 0;
};

/// Waits until no other process downloads the same.
void take_lock(core::FileLock& lock, const std::string& name, const std::stop_token& stop) {
  if (lock.lock(stop)) return;
  fail(ErrorKind::kCancelled, "{}: the download was interrupted while another process has it under way", name);
}

void check_content(const fs::path& path, const RemoteFile& file, const std::string& url) {
  if (const uint64_t size = size_on_disk(path); size != file.size) {
    fail(ErrorKind::kInvalidInput, "{}: has {} bytes, expected {}", url, size, file.size);
  }
  if (!file.sha256.empty()) check_sha256(path, file.sha256, url);
  if (!file.git_id.empty()) check_git_blob_id(path, file.git_id, url);
}

/// One pull's downloads.
class Puller {
 public:
  Puller(const PullPlan& plan, const Settings& settings, const core::ProgressCallback& progress, std::stop_token stop)
      : plan_(plan),
        settings_(settings),
        stop_(std::move(stop)),
        cached_(settings.cache, plan.repository.name.repository),
        progress_(progress, plan.bytes) {}

  const CachedRepository& cached() const { return cached_; }

  /// Brings every file's content into the cache. The first failure ends the other downloads and is thrown.
  void bring_blobs() {
    std::vector<const RemoteFile*> files;
    for (const RemoteFile& file : plan_.selection.files) files.push_back(&file);
    std::sort(files.begin(), files.end(), [](const RemoteFile* a, const RemoteFile* b) { return a->size > b->size; });
    std::stop_source source;
    const std::stop_callback forward(stop_, [&] { source.request_stop(); });
    std::atomic<size_t> next = 0;
    std::mutex mutex;
    std::exception_ptr failure;
    const auto work = [&] {
      try {
        for (size_t i; (i = next.fetch_add(1)) < files.size();) bring_blob(*files[i], source.get_token());
      } catch (...) {
        const std::lock_guard lock(mutex);
        if (!failure) failure = std::current_exception();
        source.request_stop();
      }
    };
    std::vector<std::jthread> threads;
    for (size_t i = 0; i < std::min(kFilesAtATime, files.size()); ++i) threads.emplace_back(work);
    threads.clear();
    if (stop_.stop_requested()) {
      fail(ErrorKind::kCancelled, "{}: the download was interrupted; the next one goes on from there",
           to_string(plan_.repository.name));
    }
    if (failure) std::rethrow_exception(failure);
  }

 private:
  void bring_blob(const RemoteFile& file, const std::stop_token& stop) {
    const fs::path blob = cached_.blob(file.etag);
    uint64_t counted = 0;
    if (!is_here(blob, file)) {
      core::FileLock lock(cached_.lock(file.etag));
      take_lock(lock, file.path, stop);
      if (!is_here(blob, file)) counted = download_blob(file, blob, stop);
    }
    progress_.advance(counted, file.size, file.path);
  }

  /// Returns the bytes that progress was told of.
  uint64_t download_blob(const RemoteFile& file, const fs::path& blob, const std::stop_token& stop) {
    const fs::path partial = cached_.incomplete(file.etag);
    const std::string url = file_url(plan_.repository, file.path, settings_);
    std::error_code ignored;
    if (size_on_disk(partial) > file.size) fs::remove(partial, ignored);
    const bool resumed = size_on_disk(partial) > 0;
    uint64_t counted = 0;
    if (size_on_disk(partial) < file.size || file.size == 0) {
      const TransferOutcome outcome =
          get_file(url, partial, file.size, transfer_options(settings_, stop),
                   [&](uint64_t done, uint64_t) { counted = progress_.advance(counted, done, file.path); });
      if (!outcome.done) fail_for(outcome, plan_.repository.name, url, settings_);
    }
    try {
      check_content(partial, file, url);
    } catch (const core::Error&) {
      fs::remove(partial, ignored);
      if (!resumed) throw;
      // What an earlier download left may be at fault: once more from the beginning.
      progress_.advance(counted, 0, file.path);
      return download_blob(file, blob, stop);
    }
    core::os::rename_durably(partial, blob);
    return counted;
  }

  const PullPlan& plan_;
  const Settings& settings_;
  std::stop_token stop_;
  CachedRepository cached_;
  SharedProgress progress_;
};

/// Asks for the names of contents that the list of files does not have.
void complete_etags(PullPlan& plan, const Settings& settings, const TransferOptions& options) {
  for (RemoteFile& file : plan.selection.files) {
    if (!file.etag.empty()) continue;
    const std::string url = file_url(plan.repository, file.path, settings);
    const TransferOutcome outcome = get_head(url, options);
    if (!outcome.done) fail_for(outcome, plan.repository.name, url, settings);
    set_content_name(file, outcome.etag, url);
  }
}

void check_space(const PullPlan& plan, const Settings& settings) {
  std::error_code error;
  const fs::space_info space = fs::space(settings.cache, error);
  if (error || space.available >= plan.missing_bytes) return;
  fail(ErrorKind::kInvalidInput, "{}: has {} free, {} needs {}; HF_HUB_CACHE names another place",
       settings.cache.string(), core::format_bytes(space.available), to_string(plan.repository.name),
       core::format_bytes(plan.missing_bytes));
}

}  // namespace

PullPlan plan_pull(const ModelName& name, const std::string& device, const Settings& settings, std::stop_token stop) {
  if (settings.offline) {
    fail(ErrorKind::kNotFound, "{}: is not whole in the cache {}, and HF_HUB_OFFLINE forbids to download it",
         to_string(name), settings.cache.string());
  }
  const TransferOptions options = transfer_options(settings, std::move(stop));
  PullPlan plan;
  plan.repository = read_repository(name, settings, options);
  plan.selection = select_files(plan.repository.files, name, device);
  complete_etags(plan, settings, options);
  const CachedRepository cached(settings.cache, name.repository);
  for (const RemoteFile& file : plan.selection.files) {
    plan.bytes += file.size;
    if (is_here(cached.blob(file.etag), file)) continue;
    plan.missing_bytes += file.size - std::min(file.size, size_on_disk(cached.incomplete(file.etag)));
  }
  return plan;
}

CachedModel pull(const PullPlan& plan, const Settings& settings, const core::ProgressCallback& progress,
                 std::stop_token stop) {
  Puller puller(plan, settings, progress, stop);
  const CachedRepository& cached = puller.cached();
  cached.make_folders();
  check_space(plan, settings);
  puller.bring_blobs();
  // A folder in a snapshot shows only models that are whole: no name is given before all contents are there.
  const std::string& commit = plan.repository.commit;
  core::FileLock lock(cached.lock("refs"));
  take_lock(lock, to_string(plan.repository.name), stop);
  for (const RemoteFile& file : plan.selection.files) cached.link(commit, file);
  cached.set_commit(plan.repository.name.revision, commit);
  ModelName name = plan.repository.name;
  name.path = plan.selection.path;
  const auto model = find_in_cache(name, {}, settings.cache);
  if (!model) fail(ErrorKind::kInternal, "{}: was downloaded, but is not in the cache", to_string(name));
  return *model;
}

}  // namespace salient::hub
