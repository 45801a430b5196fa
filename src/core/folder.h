#pragma once

#include <filesystem>
#include <system_error>
#include <vector>

namespace salient::core {

/// What is in a folder, as paths, sorted; `error` says why it cannot be read. Standard iterators lose paths of more
/// than 260 characters on Windows.
std::vector<std::filesystem::path> entries_of(const std::filesystem::path& folder, std::error_code& error);
/// The same; throws invalid_input, naming the folder, where it cannot be read.
std::vector<std::filesystem::path> entries_of(const std::filesystem::path& folder);
/// The files in a folder and in those below it, as paths, sorted. Links to folders are not followed.
std::vector<std::filesystem::path> files_below(const std::filesystem::path& folder, std::error_code& error);
/// Removes a folder and what is in it, as far as that can be done.
void remove_folder(const std::filesystem::path& folder) noexcept;

}  // namespace salient::core
