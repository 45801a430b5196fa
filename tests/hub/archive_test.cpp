#include "hub/archive.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "tests/support/archive_bytes.h"
#include "tests/support/temporary_folder.h"

namespace salient::hub {
namespace {

namespace fs = std::filesystem;

const std::string kOtherSha256 = "84d89877f0d4041efb6bf91a16f0248f2fd573e6af05c19f96bedb9f882f7882";

class ArchiveTest : public testing::Test {
 protected:
  void SetUp() override { fs::create_directories(path_.parent_path()); }

  /// Writes an archive of these bytes and lets `take` make path_ from it: the error's kind and sentence, or "done".
  template <typename Take>
  std::string extract_with(const std::string& bytes, const Take& take) {
    tests::write_text(archive_, bytes);
    try {
      take();
      return "done";
    } catch (const core::Error& error) {
      EXPECT_TRUE(fs::is_empty(path_.parent_path()));
      return std::string(core::name_of(error.kind())) + ": " + error.what();
    }
  }
  std::string extract(const std::string& bytes, const std::string& member, const std::string& sha256 = {}) {
    return extract_with(bytes, [&] { extract_zip_member(archive_, member, path_, sha256); });
  }
  std::string unpack_bytes(const std::string& bytes, const std::string& kind) {
    return extract_with(bytes, [&] { unpack(archive_, kind, path_); });
  }
  std::string extract_column(const std::string& bytes, const std::string& column, const RowFormat& rows) {
    return extract_with(bytes, [&] { extract_parquet_column(archive_, column, rows, path_); });
  }

  tests::TemporaryFolder folder_;
  fs::path path_ = folder_.path() / "made" / "file.bin";
  fs::path partial_ = folder_.path() / "made" / "file.bin.partial";
  fs::path archive_ = folder_.path() / "archive.zip";
  const std::string beginning_ = "invalid_input: " + archive_.string() + ": ";
};

TEST_F(ArchiveTest, ExtractsDeflatedAndStoredMembers) {
  std::string expected;
  for (int i = 0; i < 8; ++i) expected += " = Title = \n";
  EXPECT_EQ(extract(tests::zip_bytes(), "wikitext-2-raw/wiki.train.raw",
                    "2763385b4696d45356dfed44df3f96d0717bf207994ec5d8c3634c41f3f5b5c1"),
            "done");
  EXPECT_EQ(tests::read_text(path_), expected);
  EXPECT_FALSE(fs::exists(partial_));
  EXPECT_EQ(extract(tests::zip_bytes(), "wikitext-2-raw/wiki.test.raw"), "done");
  EXPECT_EQ(tests::read_text(path_), "not the real one\n");
}

TEST_F(ArchiveTest, SaysThatAMemberIsMissing) {
  EXPECT_TRUE(extract(tests::zip_bytes(), "wiki.test.raw").starts_with(beginning_ + "member wiki.test.raw: "));
}

TEST_F(ArchiveTest, RefusesAMemberWithAnotherSha256) {
  EXPECT_TRUE(extract(tests::zip_bytes(), "wikitext-2-raw/wiki.test.raw", kOtherSha256)
                  .starts_with(beginning_ + "wikitext-2-raw/wiki.test.raw: its SHA-256 is "));
}

TEST_F(ArchiveTest, RefusesABrokenArchive) {
  const std::string whole = tests::zip_bytes();
  for (const std::string& broken : {std::string(), std::string("no archive"), whole.substr(0, whole.size() - 30)}) {
    EXPECT_TRUE(extract(broken, "wikitext-2-raw/wiki.test.raw").starts_with(beginning_));
  }
  std::string flipped = whole;
  flipped[whole.find("not the real one")] ^= 1;
  EXPECT_TRUE(extract(flipped, "wikitext-2-raw/wiki.test.raw").starts_with(beginning_));
}

TEST_F(ArchiveTest, SurvivesDamagedBytes) {
  const std::string whole = tests::zip_bytes();
  for (size_t i = 0; i < whole.size(); i += 3) {
    std::string damaged = whole;
    damaged[i] = static_cast<char>(damaged[i] ^ 0xff);
    const std::string outcome = extract(damaged, "wikitext-2-raw/wiki.train.raw");
    EXPECT_TRUE(outcome == "done" || outcome.starts_with(beginning_)) << outcome;
    fs::remove(path_);
  }
}

const RowFormat kPlainRows{"", "", " \n"};

TEST_F(ArchiveTest, UnpacksGzipAndZstd) {
  std::string expected;
  for (int i = 0; i < 8; ++i) expected += "a text\n";
  EXPECT_EQ(unpack_bytes(tests::gzip_bytes(), "gzip"), "done");
  EXPECT_EQ(tests::read_text(path_), expected);
  fs::remove(path_);
  EXPECT_EQ(unpack_bytes(tests::zstd_bytes(), "zstd"), "done");
  EXPECT_EQ(tests::read_text(path_), expected);
}

TEST_F(ArchiveTest, RefusesABrokenGzipOrZstd) {
  const std::string gzip = tests::gzip_bytes();
  const std::string zstd = tests::zstd_bytes();
  EXPECT_TRUE(unpack_bytes(gzip.substr(0, gzip.size() - 9), "gzip").starts_with(beginning_));
  EXPECT_TRUE(unpack_bytes(zstd.substr(0, zstd.size() - 3), "zstd").starts_with(beginning_));
  EXPECT_TRUE(unpack_bytes(gzip, "zstd").starts_with(beginning_));
  EXPECT_TRUE(unpack_bytes(zstd, "gzip").starts_with(beginning_));
}

TEST_F(ArchiveTest, WritesTheRowsOfAParquetColumn) {
  for (const std::string& table :
       {tests::snappy_parquet_bytes(), tests::zstd_parquet_bytes(), tests::gzip_parquet_bytes()}) {
    EXPECT_EQ(extract_column(table, "text", kPlainRows), "done");
    EXPECT_EQ(tests::read_text(path_), " \n = Title = \n \n Some text .\n = Title = \n");
    fs::remove(path_);
  }
  EXPECT_EQ(extract_column(tests::snappy_parquet_bytes(), "text", {"<", ">", "-"}), "done");
  EXPECT_EQ(tests::read_text(path_), "-< = Title = \n>-< Some text .\n>< = Title = \n>");
}

TEST_F(ArchiveTest, SaysWhichColumnsAParquetTableHas) {
  EXPECT_EQ(extract_column(tests::snappy_parquet_bytes(), "sentence", kPlainRows),
            beginning_ + "has no column sentence, only text, number");
  EXPECT_EQ(extract_column(tests::snappy_parquet_bytes(), "number", kPlainRows),
            beginning_ + "row 0 of column number holds no text");
}

TEST_F(ArchiveTest, RefusesABrokenParquetTable) {
  const std::string whole = tests::snappy_parquet_bytes();
  for (const std::string& broken : {std::string(), std::string("PAR1"), whole.substr(0, whole.size() - 30)}) {
    EXPECT_TRUE(extract_column(broken, "text", kPlainRows).starts_with(beginning_));
  }
  for (size_t i = 0; i < whole.size(); ++i) {
    std::string damaged = whole;
    damaged[i] = static_cast<char>(damaged[i] ^ 0xff);
    const std::string outcome = extract_column(damaged, "text", kPlainRows);
    EXPECT_TRUE(outcome == "done" || outcome.starts_with(beginning_)) << outcome;
    fs::remove(path_);
  }
}

}  // namespace
}  // namespace salient::hub
