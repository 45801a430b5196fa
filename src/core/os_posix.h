#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

/// What os_posix.cpp and the file of the system beside it, os_linux.cpp or os_macos.cpp, take from each other.
namespace salient::core::os {

/// Throws the system's reason for the last failure, naming the file and what was to be done with it.
[[noreturn]] void fail_with_errno(const std::filesystem::path& path, const char* action);
/// Private memory of so many bytes, a multiple of a page; null when it cannot be had.
std::byte* map_memory(size_t bytes);
[[noreturn]] void fail_for_lack_of_memory(size_t bytes);
/// Starts a program and waits for its end; it can neither read nor write anything. Whether it succeeded.
bool run_silently(std::vector<std::string> words);

/// Flushes a file or a folder to what survives a power cut; 0 or -1, as fsync does.
int flush_descriptor(int descriptor);
/// The variables of the environment, as new processes take them.
char** all_variables();
/// Where programs keep what they can get again and what the user made, below the home folder.
extern const char* const kCachesBelowHome;
extern const char* const kDataBelowHome;

}  // namespace salient::core::os
