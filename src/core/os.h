#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

/// Everything Salient asks of the operating system; one os_*.cpp answers for each.
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

/// The CPUs this process may use: its affinity mask, capped by the cgroup's quota rounded down, at least 1.
int usable_cpus();
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
/// Where downloads and derived data of this user are kept: $SALIENT_CACHE, or the platform's cache folder
/// with "salient" under it.
std::filesystem::path cache_folder();
/// Where what this user made is kept: $XDG_DATA_HOME or ~/.local/share with "salient" under it; empty when neither is
/// known.
std::filesystem::path data_folder();
/// Whether there is a desktop that can show a window.
bool has_desktop();
/// Asks the desktop to show a page in the user's browser, and does not wait for it. False when nobody could be asked.
bool open_in_browser(const std::string& url);
/// Environment variable, or empty.
std::string environment(const char* name);

/// A shared library: what programs call .so, .dll or .dylib. Throws not_found with the system's reason.
void* load_library(const std::filesystem::path& file);
/// A function of it; null where it has none of that name.
void* find_function(void* library, const char* name);

}  // namespace salient::core::os
