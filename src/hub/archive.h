#pragma once

#include <filesystem>
#include <string>

namespace salient::hub {

// Each takes a text out of a file that was downloaded and puts it at `path`, atomically. `sha256` (empty: not known)
// and what happens to other content are as in `download`. They throw invalid_input, naming the archive.

/// One member of a zip archive.
void extract_zip_member(const std::filesystem::path& archive, const std::string& member,
                        const std::filesystem::path& path, const std::string& sha256 = {});

/// What a file of `kind` "gzip" or "zstd" holds.
void unpack(const std::filesystem::path& archive, const std::string& kind, const std::filesystem::path& path,
            const std::string& sha256 = {});

/// What stands around each row of a column that becomes a file, and what an empty row becomes.
struct RowFormat {
  std::string before;
  std::string after;
  std::string empty;
};

/// The rows of one text column of a Parquet table.
void extract_parquet_column(const std::filesystem::path& table, const std::string& column, const RowFormat& rows,
                            const std::filesystem::path& path, const std::string& sha256 = {});

}  // namespace salient::hub
