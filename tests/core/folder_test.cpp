#include "core/folder.h"

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace salient::core {
namespace {

namespace fs = std::filesystem;

/// A path of more than 260 characters, which Windows' old functions do not take.
fs::path long_folder(const fs::path& parent) {
  fs::path path = parent;
  for (int i = 0; i < 5; ++i) path /= fs::path(std::string(60, 'x'));
  return path;
}

TEST(Folder, ListsFilesAndFoldersSorted) {
  const tests::TemporaryFolder folder;
  fs::create_directories(folder.path() / "b" / "inner");
  tests::write_text(folder.path() / "c", "");
  tests::write_text(folder.path() / "a", "");
  std::error_code error;
  EXPECT_EQ(entries_of(folder.path(), error),
            (std::vector<fs::path>{folder.path() / "a", folder.path() / "b", folder.path() / "c"}));
  EXPECT_FALSE(error);
}

TEST(Folder, TextIsAPathInUtf8OnEverySystem) {
  for (const std::string name : {"plain", "Grüße", "日本", "😀 x", "\u0800\uffff", ""}) {
    const fs::path path(name);
    EXPECT_EQ(path.string(), name);
    const std::u8string text = path.u8string();
    EXPECT_EQ(std::string(text.begin(), text.end()), name);
  }
  const tests::TemporaryFolder folder;
  fs::create_directory(folder.path() / "Grüße 日本 😀");
  std::error_code error;
  ASSERT_EQ(entries_of(folder.path(), error).size(), 1u);
  EXPECT_EQ(entries_of(folder.path(), error)[0].filename().string(), "Grüße 日本 😀");
}

TEST(Folder, ListsTheFilesBelow) {
  const tests::TemporaryFolder folder;
  const fs::path deep = long_folder(folder.path());
  fs::create_directories(deep);
  tests::write_text(deep / "deep", "text");
  tests::write_text(folder.path() / "a", "");
  std::error_code error;
  EXPECT_EQ(files_below(folder.path(), error), (std::vector<fs::path>{folder.path() / "a", deep / "deep"}));
  EXPECT_FALSE(error);
  remove_folder(folder.path());
  EXPECT_FALSE(fs::exists(folder.path()));
}

TEST(Folder, ThatIsMissingIsAnErrorToListAndNoneToRemove) {
  const tests::TemporaryFolder folder;
  std::error_code error;
  EXPECT_TRUE(entries_of(folder.path() / "none", error).empty());
  EXPECT_EQ(error, std::errc::no_such_file_or_directory);
  tests::expect_error(ErrorKind::kInvalidInput, {(folder.path() / "none").string() + ": cannot be read"},
                      [&] { entries_of(folder.path() / "none"); });
  EXPECT_TRUE(files_below(folder.path() / "none", error).empty());
  EXPECT_EQ(error, std::errc::no_such_file_or_directory);
  remove_folder(folder.path() / "none");
}

TEST(Folder, IsRemovedWithoutWhatItsLinksLeadTo) {
  const tests::TemporaryFolder folder;
  fs::create_directories(folder.path() / "kept");
  tests::write_text(folder.path() / "kept" / "file", "");
  fs::create_directories(folder.path() / "removed");
  std::error_code error;
  fs::create_directory_symlink(folder.path() / "kept", folder.path() / "removed" / "link", error);
  if (error) GTEST_SKIP() << "no links here: " << error.message();
  remove_folder(folder.path() / "removed");
  EXPECT_FALSE(fs::exists(folder.path() / "removed"));
  EXPECT_TRUE(fs::exists(folder.path() / "kept" / "file"));
}

}  // namespace
}  // namespace salient::core
