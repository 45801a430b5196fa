#pragma once

#include <filesystem>
#include <stop_token>
#include <string>

#include "core/progress.h"
#include "hub/http.h"

namespace salient::hub {

/// Downloads `url` to `path`: into a neighbour named .partial first, resumed after a cut and tried again a few times,
/// unless the server says that it would be in vain; renamed when it is whole. With `sha256` (lower-case hexadecimal)
/// other content is an error and is removed. Throws network, cancelled or invalid_input, naming the URL.
void download(const std::string& url, const std::filesystem::path& path, const std::string& sha256,
              const core::ProgressCallback& progress, const TransferOptions& options);

/// Throws invalid_input when the file's SHA-256 is not this one; `origin` is what the sentence calls it.
void check_sha256(const std::filesystem::path& path, const std::string& expected, const std::string& origin);

/// Throws invalid_input when git would not call a file of this content by this id (a SHA-1).
void check_git_blob_id(const std::filesystem::path& path, const std::string& expected, const std::string& origin);

/// A neighbour of `path` for what is not whole yet.
std::filesystem::path partial_of(const std::filesystem::path& path);

/// Gives a finished partial file its name; one with another SHA-256 (empty: not known) is removed, and an error.
void put_in_place(const std::filesystem::path& partial, const std::filesystem::path& path, const std::string& sha256,
                  const std::string& origin);

}  // namespace salient::hub
