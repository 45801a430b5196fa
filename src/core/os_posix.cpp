#include <dlfcn.h>
#include <fcntl.h>
#include <sched.h>
#include <spawn.h>
#include <sys/auxv.h>
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
#include <fstream>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include "core/buffer.h"
#include "core/error.h"
#include "core/file_lock.h"
#include "core/mapped_file.h"
#include "core/os.h"

namespace salient::core {

namespace fs = std::filesystem;

namespace {

[[noreturn]] void fail_with_errno(const fs::path& path, const char* action) {
  const int code = errno;
  const ErrorKind kind = code == ENOENT ? ErrorKind::kNotFound : ErrorKind::kInvalidInput;
  fail(kind, "{}: {}: {}", path.string(), action, std::strerror(code));
}

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

/// The first whitespace-separated words of a small system file; empty when it cannot be read.
std::vector<std::string> words_of(const char* path) {
  std::ifstream file(path);
  std::vector<std::string> words;
  for (std::string word; file >> word;) words.push_back(word);
  return words;
}

/// Flushes the names in a folder; a file is left alone.
void flush_folder(const fs::path& path) {
  const Descriptor folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder.get() >= 0) ::fsync(folder.get());
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

namespace {

constexpr size_t kHugePage = size_t{2} << 20;

/// Whole pages, or huge ones where there is at least one.
size_t round_to_pages(size_t bytes) {
  const size_t page = bytes >= kHugePage ? kHugePage : size_t{4096};
  return (bytes + page - 1) / page * page;
}

}  // namespace

std::byte* allocate_pages(size_t bytes) {
  // Fresh pages are zeros, and belong to the memory of the CPU that writes to them first.
  const size_t rounded = round_to_pages(bytes);
  const size_t reserved = rounded >= kHugePage ? rounded + kHugePage : rounded;
  void* mapping = rounded < bytes || reserved < rounded
                      ? MAP_FAILED
                      : ::mmap(nullptr, reserved, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapping == MAP_FAILED) {
    fail(ErrorKind::kOutOfMemory, "{:.1f} MiB of memory cannot be had", static_cast<double>(bytes) / (1 << 20));
  }
  auto* begin = static_cast<std::byte*>(mapping);
  if (reserved == rounded) return begin;
  const size_t before = (kHugePage - reinterpret_cast<uintptr_t>(begin) % kHugePage) % kHugePage;
  if (before > 0) ::munmap(begin, before);
  if (before < kHugePage) ::munmap(begin + before + rounded, kHugePage - before);
  ::madvise(begin + before, rounded, MADV_HUGEPAGE);
  return begin + before;
}

void free_pages(std::byte* pages, size_t bytes) noexcept {
  if (pages) ::munmap(pages, round_to_pages(bytes));
}

namespace os {

int create_file(const fs::path& path) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) fail_with_errno(path, "cannot be written");
  return fd;
}

void write_file(int handle, std::span<const std::byte> bytes, const fs::path& name) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(handle, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail_with_errno(name, "cannot be written");
    bytes = bytes.subspan(static_cast<size_t>(written));
  }
}

void flush_file(int handle, const fs::path& name) {
  if (::fsync(handle) != 0) fail_with_errno(name, "cannot be flushed to disk");
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

int usable_cpus() {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  int cpus = 1;
  if (::sched_getaffinity(0, sizeof mask, &mask) == 0) cpus = std::max(1, CPU_COUNT(&mask));
  double quota = 0;
  double period = 0;
  if (const auto v2 = words_of("/sys/fs/cgroup/cpu.max"); v2.size() >= 2 && v2[0] != "max") {
    quota = std::atof(v2[0].c_str());
    period = std::atof(v2[1].c_str());
  } else if (const auto v1 = words_of("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"); !v1.empty()) {
    const auto v1_period = words_of("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
    quota = std::atof(v1[0].c_str());
    period = v1_period.empty() ? 0 : std::atof(v1_period[0].c_str());
  }
  if (quota > 0 && period > 0) cpus = std::min(cpus, std::max(1, static_cast<int>(quota / period)));
  return cpus;
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

ArmExtensions arm_extensions() {
  ArmExtensions found;
#if defined(__aarch64__)
  found.dot_product = (::getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
  found.int8_matrices = (::getauxval(AT_HWCAP2) & HWCAP2_I8MM) != 0;
#endif
  return found;
}

std::string cpu_name() {
  std::ifstream cpuinfo("/proc/cpuinfo");
  for (std::string line; std::getline(cpuinfo, line);) {
    const size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) return line.substr(colon + 2);
  }
  return "unknown CPU";
}

bool is_terminal(int stream) {
  return ::isatty(stream) == 1;
}

uint64_t available_memory() {
  uint64_t available = 0;
  std::ifstream meminfo("/proc/meminfo");
  for (std::string line; std::getline(meminfo, line);) {
    std::istringstream fields(line);
    std::string key;
    uint64_t kib = 0;
    if (fields >> key >> kib && key == "MemAvailable:") available = kib * 1024;
  }
  if (const auto limit = words_of("/sys/fs/cgroup/memory.max"); !limit.empty() && limit[0] != "max") {
    const uint64_t most = std::strtoull(limit[0].c_str(), nullptr, 10);
    const auto current = words_of("/sys/fs/cgroup/memory.current");
    const uint64_t used = current.empty() ? 0 : std::strtoull(current[0].c_str(), nullptr, 10);
    available = std::min(available, most > used ? most - used : 0);
  }
  return available;
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

fs::path shared_cache_folder() {
  if (const std::string xdg = environment("XDG_CACHE_HOME"); !xdg.empty()) return xdg;
  if (const std::string home = environment("HOME"); !home.empty()) return fs::path(home) / ".cache";
  return {};
}

fs::path cache_folder() {
  if (const std::string own = environment("SALIENT_CACHE"); !own.empty()) return own;
  if (const fs::path shared = shared_cache_folder(); !shared.empty()) return shared / "salient";
  fail(ErrorKind::kNotFound, "no cache folder: set SALIENT_CACHE, XDG_CACHE_HOME or HOME");
}

fs::path data_folder() {
  if (const std::string xdg = environment("XDG_DATA_HOME"); !xdg.empty()) return fs::path(xdg) / "salient";
  if (const std::string home = environment("HOME"); !home.empty()) return fs::path(home) / ".local/share/salient";
  return {};
}

bool has_desktop() {
  return !environment("DISPLAY").empty() || !environment("WAYLAND_DISPLAY").empty();
}

bool open_in_browser(const std::string& url) {
  posix_spawn_file_actions_t silence;
  ::posix_spawn_file_actions_init(&silence);
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    ::posix_spawn_file_actions_addopen(&silence, stream, "/dev/null", O_RDWR, 0);
  }
  // The shell puts the opener into the background, so that nobody has to wait for it.
  std::vector<std::string> words = {"sh", "-c", "command -v xdg-open && { xdg-open \"$1\" & }", "sh", url};
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  pid_t child = 0;
  const int failure = ::posix_spawnp(&child, "sh", &silence, nullptr, arguments.data(), environ);
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
