#include "core/os_posix.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <string>
#include <vector>

#include "core/buffer.h"
#include "core/error.h"
#include "core/file_lock.h"
#include "core/mapped_file.h"
#include "core/os.h"

namespace salient::core {

namespace fs = std::filesystem;

namespace os {

void fail_with_errno(const fs::path& path, const char* action) {
  const int code = errno;
  const ErrorKind kind = code == ENOENT ? ErrorKind::kNotFound : ErrorKind::kInvalidInput;
  fail(kind, "{}: {}: {}", path.string(), action, std::strerror(code));
}

}  // namespace os

namespace {

using os::fail_with_errno;

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

/// Flushes the names in a folder; a file is left alone.
void flush_folder(const fs::path& path) {
  const Descriptor folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder.get() >= 0) os::flush_descriptor(folder.get());
}

}  // namespace

MappedFile::MappedFile(const fs::path& path) : path_(path) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.get() < 0) fail_with_errno(path, "cannot be opened");
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) fail_with_errno(path, "cannot be examined");
  if (!S_ISREG(status.st_mode)) fail(ErrorKind::kInvalidInput, "{}: is not a regular file", path.string());
  size_ = static_cast<size_t>(status.st_size);
  if (size_ == 0) fail(ErrorKind::kInvalidInput, "{}: is empty", path.string());
  void* mapping = ::mmap(nullptr, size_, PROT_READ, MAP_SHARED, file.get(), 0);
  if (mapping == MAP_FAILED) fail_with_errno(path, "cannot be mapped");
  data_ = static_cast<const std::byte*>(mapping);
}

void MappedFile::release() const noexcept {
  if (data_) ::madvise(const_cast<std::byte*>(data_), size_, MADV_DONTNEED);
}

MappedFile::~MappedFile() {
  if (data_) ::munmap(const_cast<std::byte*>(data_), size_);
}

FileLock::FileLock(const fs::path& path) : path_(path) {
  handle_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (handle_ < 0) fail_with_errno(path, "cannot be opened");
}

FileLock::~FileLock() {
  ::close(handle_);
}

bool FileLock::try_lock() {
  if (is_held_) return true;
  is_held_ = ::flock(handle_, LOCK_EX | LOCK_NB) == 0;
  if (is_held_) return true;
  if (errno == EWOULDBLOCK || errno == EINTR) return false;
  fail_with_errno(path_, "cannot be locked");
}

namespace os {

std::byte* map_memory(size_t bytes) {
  void* mapping = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return mapping == MAP_FAILED ? nullptr : static_cast<std::byte*>(mapping);
}

void fail_for_lack_of_memory(size_t bytes) {
  fail(ErrorKind::kOutOfMemory, "{:.1f} MiB of memory cannot be had", static_cast<double>(bytes) / (1 << 20));
}

int create_file(const fs::path& path) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) fail_with_errno(path, "cannot be written");
  return fd;
}

void write_file(int handle, std::span<const std::byte> bytes, const fs::path& name) {
  constexpr size_t kMostAtOnce = size_t{1} << 30;  // macOS refuses 2 GiB
  while (!bytes.empty()) {
    const ssize_t written = ::write(handle, bytes.data(), std::min(bytes.size(), kMostAtOnce));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail_with_errno(name, "cannot be written");
    bytes = bytes.subspan(static_cast<size_t>(written));
  }
}

void flush_file(int handle, const fs::path& name) {
  if (flush_descriptor(handle) != 0) fail_with_errno(name, "cannot be flushed to disk");
}

void close_file(int handle) noexcept {
  ::close(handle);
}

void rename_durably(const fs::path& from, const fs::path& to) {
  flush_folder(from);
  if (::rename(from.c_str(), to.c_str()) != 0) fail_with_errno(to, "cannot be put in place");
  flush_folder(to.has_parent_path() ? to.parent_path() : fs::path("."));
}

std::vector<fs::path> list_folder(const fs::path& folder, std::error_code& error) {
  std::vector<fs::path> paths;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    paths.push_back(entry->path());
  }
  return paths;
}

void sleep_while_equal(const std::atomic<uint32_t>& value, uint32_t old) {
  value.wait(old, std::memory_order_acquire);
}

void sleep_while_equal(const std::atomic<int64_t>& value, int64_t old) {
  value.wait(old, std::memory_order_acquire);
}

void wake_all(std::atomic<uint32_t>& value) {
  value.notify_all();
}

void wake_one(std::atomic<int64_t>& value) {
  value.notify_one();
}

bool is_terminal(int stream) {
  return ::isatty(stream) == 1;
}

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

void* load_library(const fs::path& file) {
  void* library = ::dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) fail(ErrorKind::kNotFound, "{}", ::dlerror());
  return library;
}

void* find_function(void* library, const char* name) {
  return ::dlsym(library, name);
}

namespace {

/// The folder that a variable names, or one below the home folder; empty when neither is known.
fs::path user_folder(const char* variable, const char* below_home) {
  if (const std::string named = environment(variable); !named.empty()) return named;
  if (const std::string home = environment("HOME"); !home.empty()) return fs::path(home) / below_home;
  return {};
}

}  // namespace

fs::path shared_cache_folder() {
  return user_folder("XDG_CACHE_HOME", ".cache");
}

fs::path cache_folder() {
  if (const std::string own = environment("SALIENT_CACHE"); !own.empty()) return own;
  if (const fs::path caches = user_folder("XDG_CACHE_HOME", kCachesBelowHome); !caches.empty())
    return caches / "salient";
  fail(ErrorKind::kNotFound, "no cache folder: set SALIENT_CACHE, XDG_CACHE_HOME or HOME");
}

fs::path data_folder() {
  const fs::path data = user_folder("XDG_DATA_HOME", kDataBelowHome);
  return data.empty() ? fs::path() : data / "salient";
}

bool run_silently(std::vector<std::string> words) {
  posix_spawn_file_actions_t silence;
  ::posix_spawn_file_actions_init(&silence);
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    ::posix_spawn_file_actions_addopen(&silence, stream, "/dev/null", O_RDWR, 0);
  }
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  pid_t child = 0;
  const int failure = ::posix_spawnp(&child, arguments[0], &silence, nullptr, arguments.data(), all_variables());
  ::posix_spawn_file_actions_destroy(&silence);
  int status = 0;
  if (failure != 0 || ::waitpid(child, &status, 0) != child) return false;
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

std::vector<std::string> arguments(int count, char** values) {
  return {values, values + count};
}

void use_utf8_terminal() {}

bool read_line(std::string& line) {
  return static_cast<bool>(std::getline(std::cin, line));
}

namespace {

std::atomic<InterruptHandler> interrupt_handler = nullptr;

void on_signal(int signal) {
  const InterruptHandler handler = interrupt_handler.load();
  if (handler && handler()) return;
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

}  // namespace

void set_interrupt_handler(InterruptHandler handler) {
  interrupt_handler = handler;
  for (const int signal : {SIGINT, SIGTERM}) std::signal(signal, handler ? on_signal : SIG_DFL);
}

}  // namespace os
}  // namespace salient::core
