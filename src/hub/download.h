#pragma once

#include <chrono>
#include <filesystem>
#include <stop_token>
#include <string>

#include "core/progress.h"

namespace salient::hub {

/// The wait before the second try of a download; it doubles with each further one.
inline constexpr std::chrono::milliseconds kFirstWait{500};

/// Downloads `url` to `path`: into a neighbour named .partial first, resumed after a cut and tried again a few times,
/// unless the server says that it would be in vain; renamed when it is whole. With `sha256` (lower-case hexadecimal)
/// other content is an error and is removed. Throws network, cancelled or invalid_input, naming the URL.
void download(const std::string& url, const std::filesystem::path& path, const std::string& sha256,
              const core::ProgressCallback& progress, std::stop_token stop,
              std::chrono::milliseconds first_wait = kFirstWait);

/// Throws invalid_input when the file's SHA-256 is not this one.
void check_sha256(const std::filesystem::path& path, const std::string& expected, const std::string& origin);

/// Extracts one member of a zip archive to `path`, atomically. `sha256` and what happens to other content are as in
/// `download`.
void extract_zip_member(const std::filesystem::path& archive, const std::string& member,
                        const std::filesystem::path& path, const std::string& sha256 = {});

}  // namespace salient::hub
