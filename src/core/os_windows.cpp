#define NOMINMAX
#define WIN32_LEAN_AND_MEAN
// The others need windows.h before them.
// clang-format off
#include <windows.h>
#include <fcntl.h>
#include <io.h>
#include <share.h>
#include <shellapi.h>
#include <sys/stat.h>
// clang-format on

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/buffer.h"
#include "core/error.h"
#include "core/file_lock.h"
#include "core/mapped_file.h"
#include "core/os.h"

namespace salient::core {

namespace fs = std::filesystem;

namespace {

std::string to_utf8(std::wstring_view text) {
  const int size = static_cast<int>(text.size());
  std::string result(
      static_cast<size_t>(::WideCharToMultiByte(CP_UTF8, 0, text.data(), size, nullptr, 0, nullptr, nullptr)), '\0');
  ::WideCharToMultiByte(CP_UTF8, 0, text.data(), size, result.data(), static_cast<int>(result.size()), nullptr,
                        nullptr);
  return result;
}

std::wstring to_wide(std::string_view text) {
  const int size = static_cast<int>(text.size());
  std::wstring result(static_cast<size_t>(::MultiByteToWideChar(CP_UTF8, 0, text.data(), size, nullptr, 0)), L'\0');
  ::MultiByteToWideChar(CP_UTF8, 0, text.data(), size, result.data(), static_cast<int>(result.size()));
  return result;
}

/// The system's sentence about one of its error codes, without the end of the line.
std::string message_of(DWORD code) {
  std::array<wchar_t, 512> text{};
  DWORD size = ::FormatMessageW(FORMAT_MESSAGE_FROM_SYSTEM | FORMAT_MESSAGE_IGNORE_INSERTS, nullptr, code, 0,
                                text.data(), static_cast<DWORD>(text.size()), nullptr);
  while (size > 0 && std::wstring_view(L"\r\n. ").find(text[size - 1]) != std::wstring_view::npos) --size;
  return size > 0 ? to_utf8({text.data(), size}) : "error " + std::to_string(code);
}

[[noreturn]] void fail_with_code(const fs::path& path, const char* action, DWORD code) {
  const bool missing = code == ERROR_FILE_NOT_FOUND || code == ERROR_PATH_NOT_FOUND;
  fail(missing ? ErrorKind::kNotFound : ErrorKind::kInvalidInput, "{}: {}: {}", path.string(), action,
       message_of(code));
}

/// What the C library reported.
[[noreturn]] void fail_with_errno(const fs::path& path, const char* action) {
  const int code = errno;
  const ErrorKind kind = code == ENOENT ? ErrorKind::kNotFound : ErrorKind::kInvalidInput;
  fail(kind, "{}: {}: {}", path.string(), action, std::strerror(code));
}

struct Close {
  void operator()(HANDLE handle) const { ::CloseHandle(handle); }
};
using Handle = std::unique_ptr<void, Close>;

/// Where a file or folder is now: a missing folder above it makes this false too.
bool is_folder(const fs::path& path) {
  const DWORD attributes = ::GetFileAttributesW(path.c_str());
  return attributes != INVALID_FILE_ATTRIBUTES && (attributes & FILE_ATTRIBUTE_DIRECTORY) != 0;
}

/// Creates or opens a file that this program alone inherits; -1 with errno. A path that goes through a file has no
/// folder, which the C library calls missing.
int open_file(const fs::path& path, int flags) {
  int descriptor = -1;
  const errno_t code =
      ::_wsopen_s(&descriptor, path.c_str(), flags | _O_BINARY | _O_NOINHERIT, _SH_DENYNO, _S_IREAD | _S_IWRITE);
  if (code == 0) return descriptor;
  const fs::path parent = path.parent_path();
  const bool goes_through_a_file =
      ::GetFileAttributesW(parent.c_str()) != INVALID_FILE_ATTRIBUTES && !is_folder(parent);
  errno = goes_through_a_file ? ENOTDIR : code;
  return -1;
}

}  // namespace

MappedFile::MappedFile(const fs::path& path) : path_(path) {
  if (is_folder(path)) fail(ErrorKind::kInvalidInput, "{}: is not a regular file", path.string());
  // Others may still write to it, and remove or rename it once it is not mapped any more.
  HANDLE opened = ::CreateFileW(path.c_str(), GENERIC_READ, FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE,
                                nullptr, OPEN_EXISTING, FILE_ATTRIBUTE_NORMAL, nullptr);
  if (opened == INVALID_HANDLE_VALUE) fail_with_code(path, "cannot be opened", ::GetLastError());
  const Handle file(opened);
  if (::GetFileType(opened) != FILE_TYPE_DISK) {
    fail(ErrorKind::kInvalidInput, "{}: is not a regular file", path.string());
  }
  LARGE_INTEGER size{};
  if (!::GetFileSizeEx(opened, &size)) fail_with_code(path, "cannot be examined", ::GetLastError());
  size_ = static_cast<size_t>(size.QuadPart);
  if (size_ == 0) fail(ErrorKind::kInvalidInput, "{}: is empty", path.string());
  const Handle mapping(::CreateFileMappingW(opened, nullptr, PAGE_READONLY, 0, 0, nullptr));
  if (!mapping) fail_with_code(path, "cannot be mapped", ::GetLastError());
  data_ = static_cast<const std::byte*>(::MapViewOfFile(mapping.get(), FILE_MAP_READ, 0, 0, 0));
  if (!data_) fail_with_code(path, "cannot be mapped", ::GetLastError());
}

void MappedFile::release() const noexcept {
  // Of pages that are not locked this takes the memory away, which is what is wanted; the answer is an error then.
  if (data_) ::VirtualUnlock(const_cast<std::byte*>(data_), size_);
}

MappedFile::~MappedFile() {
  if (data_) ::UnmapViewOfFile(data_);
}

FileLock::FileLock(const fs::path& path) : path_(path) {
  handle_ = open_file(path, _O_RDWR | _O_CREAT);
  if (handle_ < 0) fail_with_errno(path, "cannot be opened");
}

FileLock::~FileLock() {
  ::_close(handle_);
}

bool FileLock::try_lock() {
  if (is_held_) return true;
  // Python's filelock locks the same byte.
  OVERLAPPED first_byte{};
  auto* file = reinterpret_cast<HANDLE>(::_get_osfhandle(handle_));
  is_held_ = ::LockFileEx(file, LOCKFILE_EXCLUSIVE_LOCK | LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &first_byte) != 0;
  if (is_held_) return true;
  const DWORD code = ::GetLastError();
  if (code == ERROR_LOCK_VIOLATION || code == ERROR_IO_PENDING) return false;
  fail_with_code(path_, "cannot be locked", code);
}

namespace {

/// The size of large pages when this process may use them, else 0: most users lack the right to lock pages in memory.
size_t large_page() {
  static const size_t size = [] {
    HANDLE opened = nullptr;
    if (!::OpenProcessToken(::GetCurrentProcess(), TOKEN_ADJUST_PRIVILEGES | TOKEN_QUERY, &opened)) return size_t{0};
    const Handle token(opened);
    TOKEN_PRIVILEGES wanted{};
    wanted.PrivilegeCount = 1;
    wanted.Privileges[0].Attributes = SE_PRIVILEGE_ENABLED;
    if (!::LookupPrivilegeValueW(nullptr, L"SeLockMemoryPrivilege", &wanted.Privileges[0].Luid)) return size_t{0};
    const bool asked = ::AdjustTokenPrivileges(opened, FALSE, &wanted, 0, nullptr, nullptr) != 0;
    // It succeeds too where nothing was given.
    return asked && ::GetLastError() == ERROR_SUCCESS ? static_cast<size_t>(::GetLargePageMinimum()) : size_t{0};
  }();
  return size;
}

}  // namespace

std::byte* allocate_pages(size_t bytes) {
  void* pages = nullptr;
  if (const size_t page = large_page(); page > 0 && bytes >= page && bytes <= SIZE_MAX - page) {
    const size_t rounded = (bytes + page - 1) / page * page;
    pages = ::VirtualAlloc(nullptr, rounded, MEM_RESERVE | MEM_COMMIT | MEM_LARGE_PAGES, PAGE_READWRITE);
  }
  if (!pages) pages = ::VirtualAlloc(nullptr, bytes, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
  if (!pages)
    fail(ErrorKind::kOutOfMemory, "{:.1f} MiB of memory cannot be had", static_cast<double>(bytes) / (1 << 20));
  return static_cast<std::byte*>(pages);
}

void free_pages(std::byte* pages, size_t) noexcept {
  if (pages) ::VirtualFree(pages, 0, MEM_RELEASE);
}

namespace os {

int create_file(const fs::path& path) {
  const int descriptor = open_file(path, _O_WRONLY | _O_CREAT | _O_TRUNC);
  if (descriptor < 0) fail_with_errno(path, "cannot be written");
  return descriptor;
}

void write_file(int handle, std::span<const std::byte> bytes, const fs::path& name) {
  constexpr size_t kMost = size_t{1} << 30;  // the C library counts in int
  while (!bytes.empty()) {
    const int written = ::_write(handle, bytes.data(), static_cast<unsigned>(std::min(bytes.size(), kMost)));
    if (written < 0) fail_with_errno(name, "cannot be written");
    bytes = bytes.subspan(static_cast<size_t>(written));
  }
}

void flush_file(int handle, const fs::path& name) {
  if (::_commit(handle) != 0) fail_with_errno(name, "cannot be flushed to disk");
}

void close_file(int handle) noexcept {
  ::_close(handle);
}

void rename_durably(const fs::path& from, const fs::path& to) {
  // Virus scanners and indexers open what is new, and hold it for a moment.
  constexpr int kTries = 20;
  constexpr DWORD kBetweenTriesMs = 50;
  for (int i = 1;; ++i) {
    if (::MoveFileExW(from.c_str(), to.c_str(), MOVEFILE_REPLACE_EXISTING | MOVEFILE_WRITE_THROUGH)) return;
    const DWORD code = ::GetLastError();
    const bool may_pass = code == ERROR_SHARING_VIOLATION || (code == ERROR_ACCESS_DENIED && !is_folder(to));
    if (!may_pass || i == kTries) fail_with_code(to, "cannot be put in place", code);
    ::Sleep(kBetweenTriesMs);
  }
}

std::vector<fs::path> list_folder(const fs::path& folder, std::error_code& error) {
  error.clear();
  std::vector<fs::path> paths;
  WIN32_FIND_DATAW entry{};
  HANDLE search = ::FindFirstFileW((folder / "*").c_str(), &entry);
  if (search == INVALID_HANDLE_VALUE) {
    const DWORD code = ::GetLastError();
    if (code == ERROR_FILE_NOT_FOUND) return paths;  // the root of an empty drive
    error = code == ERROR_PATH_NOT_FOUND ? std::make_error_code(std::errc::no_such_file_or_directory)
                                         : std::error_code(static_cast<int>(code), std::system_category());
    return paths;
  }
  do {
    const std::wstring_view name(entry.cFileName);
    if (name != L"." && name != L"..") paths.push_back(folder / name);
  } while (::FindNextFileW(search, &entry));
  if (const DWORD code = ::GetLastError(); code != ERROR_NO_MORE_FILES) {
    error = std::error_code(static_cast<int>(code), std::system_category());
  }
  ::FindClose(search);
  return paths;
}

int usable_cpus() {
  DWORD_PTR process = 0;
  DWORD_PTR system = 0;
  int cpus = 0;
  if (::GetProcessAffinityMask(::GetCurrentProcess(), &process, &system)) cpus = std::popcount(process);
  // The mask has no more than 64; it is empty where the process runs on several such groups.
  if (cpus == 0 || process == system) cpus = static_cast<int>(::GetActiveProcessorCount(ALL_PROCESSOR_GROUPS));
  JOBOBJECT_CPU_RATE_CONTROL_INFORMATION rate{};
  constexpr DWORD kHardCap = JOB_OBJECT_CPU_RATE_CONTROL_ENABLE | JOB_OBJECT_CPU_RATE_CONTROL_HARD_CAP;
  constexpr double kWholeMachine = 10'000;
  if (::QueryInformationJobObject(nullptr, JobObjectCpuRateControlInformation, &rate, sizeof rate, nullptr) &&
      (rate.ControlFlags & kHardCap) == kHardCap) {
    const double quota = rate.CpuRate / kWholeMachine * ::GetActiveProcessorCount(ALL_PROCESSOR_GROUPS);
    cpus = std::min(cpus, static_cast<int>(quota));
  }
  return std::max(1, cpus);
}

namespace {

template <typename T>
void sleep_on(const std::atomic<T>& value, T old) {
  static_assert(sizeof value == sizeof old && std::atomic<T>::is_always_lock_free);
  ::WaitOnAddress(const_cast<std::atomic<T>*>(&value), &old, sizeof old, INFINITE);
}

}  // namespace

void sleep_while_equal(const std::atomic<uint32_t>& value, uint32_t old) {
  sleep_on(value, old);
}

void sleep_while_equal(const std::atomic<int64_t>& value, int64_t old) {
  sleep_on(value, old);
}

void wake_all(std::atomic<uint32_t>& value) {
  ::WakeByAddressAll(&value);
}

void wake_one(std::atomic<int64_t>& value) {
  ::WakeByAddressSingle(&value);
}

ArmExtensions arm_extensions() {
  ArmExtensions found;
#if defined(__aarch64__)
  constexpr DWORD kDotProduct = 43;  // PF_ARM_V82_DP_INSTRUCTIONS_AVAILABLE
  found.dot_product = ::IsProcessorFeaturePresent(kDotProduct) != 0;
#endif
  return found;
}

std::string cpu_name() {
  std::array<wchar_t, 256> name{};
  DWORD bytes = sizeof name;
  const LSTATUS status = ::RegGetValueW(HKEY_LOCAL_MACHINE, L"HARDWARE\\DESCRIPTION\\System\\CentralProcessor\\0",
                                        L"ProcessorNameString", RRF_RT_REG_SZ, nullptr, name.data(), &bytes);
  if (status != ERROR_SUCCESS) return "unknown CPU";
  std::string text = to_utf8(name.data());
  text.erase(text.find_last_not_of(' ') + 1);
  return text.empty() ? "unknown CPU" : text;
}

namespace {

HANDLE standard_stream(int stream) {
  constexpr DWORD kNames[] = {STD_INPUT_HANDLE, STD_OUTPUT_HANDLE, STD_ERROR_HANDLE};
  return ::GetStdHandle(kNames[stream]);
}

}  // namespace

bool is_terminal(int stream) {
  DWORD mode = 0;
  return ::GetConsoleMode(standard_stream(stream), &mode) != 0;
}

uint64_t available_memory() {
  MEMORYSTATUSEX status{};
  status.dwLength = sizeof status;
  if (!::GlobalMemoryStatusEx(&status)) return 0;
  // What is allocated counts against the memory and the page file together, used or not.
  return std::min<uint64_t>(status.ullAvailPhys, status.ullAvailPageFile);
}

void* load_library(const fs::path& file) {
  // A library that is named by its whole path finds what it needs beside itself.
  const DWORD flags = file.is_absolute() ? LOAD_WITH_ALTERED_SEARCH_PATH : 0;
  void* library = ::LoadLibraryExW(file.c_str(), nullptr, flags);
  if (!library) fail(ErrorKind::kNotFound, "{}: {}", file.string(), message_of(::GetLastError()));
  return library;
}

void* find_function(void* library, const char* name) {
  return reinterpret_cast<void*>(::GetProcAddress(static_cast<HMODULE>(library), name));
}

std::string environment(const char* name) {
  const std::wstring wide = to_wide(name);
  const DWORD size = ::GetEnvironmentVariableW(wide.c_str(), nullptr, 0);
  if (size == 0) return {};
  std::wstring value(size, L'\0');
  value.resize(::GetEnvironmentVariableW(wide.c_str(), value.data(), size));
  return to_utf8(value);
}

fs::path shared_cache_folder() {
  if (const std::string xdg = environment("XDG_CACHE_HOME"); !xdg.empty()) return xdg;
  // Python's programs keep what they share here on Windows too.
  if (const std::string home = environment("USERPROFILE"); !home.empty()) return fs::path(home) / ".cache";
  return {};
}

fs::path cache_folder() {
  if (const std::string own = environment("SALIENT_CACHE"); !own.empty()) return own;
  if (const std::string local = environment("LOCALAPPDATA"); !local.empty())
    return fs::path(local) / "salient" / "cache";
  fail(ErrorKind::kNotFound, "no cache folder: set SALIENT_CACHE or LOCALAPPDATA");
}

fs::path data_folder() {
  if (const std::string xdg = environment("XDG_DATA_HOME"); !xdg.empty()) return fs::path(xdg) / "salient";
  if (const std::string local = environment("LOCALAPPDATA"); !local.empty()) return fs::path(local) / "salient";
  return {};
}

bool has_desktop() {
  USEROBJECTFLAGS flags{};
  const bool known = ::GetUserObjectInformationW(::GetProcessWindowStation(), UOI_FLAGS, &flags, sizeof flags, nullptr);
  return known && (flags.dwFlags & WSF_VISIBLE) != 0;
}

bool open_in_browser(const std::string& url) {
  constexpr INT_PTR kLastError = 32;
  const HINSTANCE answer = ::ShellExecuteW(nullptr, L"open", to_wide(url).c_str(), nullptr, nullptr, SW_SHOWNORMAL);
  return reinterpret_cast<INT_PTR>(answer) > kLastError;
}

std::vector<std::string> arguments(int, char**) {
  int count = 0;
  const std::unique_ptr<wchar_t*, decltype([](wchar_t** words) { ::LocalFree(words); })> words(
      ::CommandLineToArgvW(::GetCommandLineW(), &count));
  if (!words) fail(ErrorKind::kInternal, "the command line cannot be read: {}", message_of(::GetLastError()));
  std::vector<std::string> result;
  for (int i = 0; i < count; ++i) result.push_back(to_utf8(words.get()[i]));
  return result;
}

void use_utf8_terminal() {
  static const UINT input_before = ::GetConsoleCP();
  static const UINT output_before = ::GetConsoleOutputCP();
  // A file gets the same bytes as on every other system.
  ::_setmode(1, _O_BINARY);
  if (input_before == 0 || output_before == 0) return;  // no console
  ::SetConsoleCP(CP_UTF8);
  ::SetConsoleOutputCP(CP_UTF8);
  for (const int stream : {1, 2}) {
    DWORD mode = 0;
    if (!::GetConsoleMode(standard_stream(stream), &mode)) continue;
    ::SetConsoleMode(standard_stream(stream), mode | ENABLE_PROCESSED_OUTPUT | ENABLE_VIRTUAL_TERMINAL_PROCESSING);
  }
  // The console outlives the program.
  std::atexit([] {
    ::SetConsoleCP(input_before);
    ::SetConsoleOutputCP(output_before);
  });
}

bool read_line(std::string& line) {
  if (!is_terminal(0)) return static_cast<bool>(std::getline(std::cin, line));
  constexpr wchar_t kCtrlZ = 26;
  std::wstring text;
  for (std::array<wchar_t, 4096> part{}; text.empty() || text.back() != L'\n';) {
    DWORD size = 0;
    if (!::ReadConsoleW(standard_stream(0), part.data(), static_cast<DWORD>(part.size()), &size, nullptr)) return false;
    if (size == 0) return false;
    text.append(part.data(), size);
  }
  if (text.front() == kCtrlZ) return false;
  while (!text.empty() && (text.back() == L'\n' || text.back() == L'\r')) text.pop_back();
  line = to_utf8(text);
  return true;
}

namespace {

std::atomic<InterruptHandler> interrupt_handler = nullptr;

/// Called by the system in a thread of its own.
BOOL WINAPI on_console_event(DWORD event) {
  const InterruptHandler handler = interrupt_handler.load();
  if (!handler || !handler()) return FALSE;
  // A window that is closed ends the program as soon as this returns, and after some seconds anyway.
  const bool waits_for_the_end = event != CTRL_C_EVENT && event != CTRL_BREAK_EVENT;
  if (waits_for_the_end) ::Sleep(INFINITE);
  return TRUE;
}

}  // namespace

void set_interrupt_handler(InterruptHandler handler) {
  static const bool registered = ::SetConsoleCtrlHandler(on_console_event, TRUE) != 0;
  static_cast<void>(registered);
  interrupt_handler = handler;
}

}  // namespace os
}  // namespace salient::core
