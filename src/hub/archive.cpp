#include "hub/archive.h"

#include "core/error.h"
#include "hub/download.h"
#include "rust/rust_text.h"

namespace salient::hub {

namespace fs = std::filesystem;

namespace {

/// Lets `write` (a function of the crate; it takes the partial file's name and an error) make the file.
template <typename Write>
void extract(const fs::path& archive, const std::string& part, const fs::path& path, const std::string& sha256,
             const Write& write) {
  const fs::path partial = partial_of(path);
  salient_text error{};
  if (!write(partial.string(), error)) {
    std::error_code ignored;
    fs::remove(partial, ignored);
    core::fail(core::ErrorKind::kInvalidInput, "{}: {}", archive.string(), rust::take(error));
  }
  put_in_place(partial, path, sha256, part.empty() ? archive.string() : archive.string() + ": " + part);
}

}  // namespace

void extract_zip_member(const fs::path& archive, const std::string& member, const fs::path& path,
                        const std::string& sha256) {
  const std::string name = archive.string();
  extract(archive, member, path, sha256, [&](const std::string& partial, salient_text& error) {
    return salient_unzip_member(name.data(), name.size(), member.data(), member.size(), partial.data(), partial.size(),
                                &error);
  });
}

void unpack(const fs::path& archive, const std::string& kind, const fs::path& path, const std::string& sha256) {
  const std::string name = archive.string();
  extract(archive, {}, path, sha256, [&](const std::string& partial, salient_text& error) {
    return salient_unpack(name.data(), name.size(), kind.data(), kind.size(), partial.data(), partial.size(), &error);
  });
}

void extract_parquet_column(const fs::path& table, const std::string& column, const RowFormat& rows,
                            const fs::path& path, const std::string& sha256) {
  const std::string name = table.string();
  const salient_rows around{rows.before.data(), rows.before.size(), rows.after.data(),
                            rows.after.size(),  rows.empty.data(),  rows.empty.size()};
  extract(table, column, path, sha256, [&](const std::string& partial, salient_text& error) {
    return salient_parquet_column(name.data(), name.size(), column.data(), column.size(), &around, partial.data(),
                                  partial.size(), &error);
  });
}

}  // namespace salient::hub
