#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <system_error>
#include <vector>

/// Everything Salient asks of the operating system; os_*.cpp answer for each.
namespace salient::core::os {

/// Creates or truncates a file for writing. Throws, naming the file and the system's reason.
int create_file(const std::filesystem::path& path);
/// Writes all bytes; `name` is what errors call the file.
void write_file(int handle, std::span<const std::byte> bytes, const std::filesystem::path& name);
void flush_file(int handle, const std::filesystem::path& name);
void close_file(int handle) noexcept;
/// Renames a file, or a folder once it is flushed, and flushes the parent folder, so that the new name survives a power
/// cut.
void rename_durably(const std::filesystem::path& from, const std::filesystem::path& to);

/// What is in a folder, as paths in no order; `error` says why it cannot be read.
std::vector<std::filesystem::path> list_folder(const std::filesystem::path& folder, std::error_code& error);

/// The CPUs this process may use, at least 1: its affinity mask, capped by the cgroup's quota rounded down; on macOS
/// the fast ones.
int usable_cpus();
/// Sleeps while `value` is `old`; may wake for nothing. std::atomic::wait sleeps through notifications where libstdc++
/// has no futex (seen in gcc 12 for Windows).
void sleep_while_equal(const std::atomic<uint32_t>& value, uint32_t old);
void sleep_while_equal(const std::atomic<int64_t>& value, int64_t old);
/// Wakes whoever sleeps on a value that was changed before.
void wake_all(std::atomic<uint32_t>& value);
void wake_one(std::atomic<int64_t>& value);
/// What the system offers of the instructions that AArch64 does not always have; nothing on other processors.
struct ArmExtensions {
  bool dot_product = false;    ///< FEAT_DotProd
  bool int8_matrices = false;  ///< FEAT_I8MM
};
ArmExtensions arm_extensions();
/// What the system calls its CPU, or "unknown CPU".
std::string cpu_name();
/// True when the standard stream (0 input, 1 output, 2 error) is a terminal.
bool is_terminal(int stream);
/// The bytes of physical memory that can be used without swapping, within the cgroup's limit.
uint64_t available_memory();
/// Where programs keep what they can get again: $XDG_CACHE_HOME or ~/.cache; empty when neither is known.
std::filesystem::path shared_cache_folder();
/// Where downloads and derived data of this user are kept: $SALIENT_CACHE, or the platform's cache folder with
/// "salient" under it (on Windows %LOCALAPPDATA%\salient\cache, on macOS ~/Library/Caches).
std::filesystem::path cache_folder();
/// Where what this user made is kept: $XDG_DATA_HOME or ~/.local/share (on Windows %LOCALAPPDATA%, on macOS
/// ~/Library/Application Support) with "salient" under it; empty when neither is known.
std::filesystem::path data_folder();
/// Whether there is a desktop that can show a window.
bool has_desktop();
/// Asks the desktop to show a page in the user's browser, and does not wait for it. False when nobody could be asked.
bool open_in_browser(const std::string& url);
/// Environment variable in UTF-8, or empty.
std::string environment(const char* name);

/// The words of the command line in UTF-8, the program's name first. Takes what `main` was given.
std::vector<std::string> arguments(int count, char** values);
/// Lets the terminal show UTF-8 and take what is typed as UTF-8; standard output has the same bytes on every system.
void use_utf8_terminal();
/// Reads a line of standard input in UTF-8, without its end; a terminal edits it as it does by itself. False at the end
/// of input.
bool read_line(std::string& line);

/// Says whether it sees to the end of the program; if not, the program ends as if there were no handler. Runs as a
/// signal handler or in a thread of its own: it may only use atomic variables.
using InterruptHandler = bool (*)();
/// Who is asked on Ctrl-C, on the polite request to end (SIGTERM) and when the terminal's window is closed; null:
/// nobody.
void set_interrupt_handler(InterruptHandler handler);

/// A shared library: what programs call .so, .dll or .dylib. Throws not_found with the system's reason.
void* load_library(const std::filesystem::path& file);
/// A function of it; null where it has none of that name.
void* find_function(void* library, const char* name);

}  // namespace salient::core::os
