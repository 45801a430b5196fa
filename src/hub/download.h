#pragma once

#include <filesystem>
#include <stop_token>
#include <string>

#include "core/progress.h"

namespace salient::hub {

/// Downloads `url` to `path`: into a neighbour named .partial first, resumed after a cut and tried again a few times,
/// renamed when it is whole. With `sha256` (lower-case hexadecimal) other content is an error and is removed.
/// Throws network, cancelled or invalid_input, naming the URL.
void download(const std::string& url, const std::filesystem::path& path, const std::string& sha256,
              const core::ProgressCallback& progress, std::stop_token stop);

/// Throws invalid_input when the file's SHA-256 is not this one.
void check_sha256(const std::filesystem::path& path, const std::string& expected, const std::string& origin);

/// Extracts one member of a zip archive to `path`, atomically.
void extract_zip_member(const std::filesystem::path& archive, const std::string& member,
                        const std::filesystem::path& path);

}  // namespace salient::hub
