#include "core/atomic_output.h"

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace salient::core {
namespace {

namespace fs = std::filesystem;
using tests::expect_error;
using tests::TemporaryFolder;

int entries_of(const fs::path& folder) {
  return static_cast<int>(std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

TEST(AtomicFile, AppearsWholeWithItsCommit) {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "file";
  AtomicFile file(path);
  file.write("first ");
  file.write(std::as_bytes(std::span("second", 6)));
  EXPECT_FALSE(fs::exists(path));
  file.commit();
  EXPECT_EQ(tests::read_text(path), "first second");
  EXPECT_EQ(entries_of(folder.path()), 1);
}

TEST(AtomicFile, LeavesNothingWithoutItsCommit) {
  const TemporaryFolder folder;
  AtomicFile(folder.path() / "file").write("half");
  EXPECT_EQ(entries_of(folder.path()), 0);
}

TEST(AtomicFile, KeepsTheOldFileUntilItsCommit) {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "file";
  tests::write_text(path, "old");
  AtomicFile(path).write("new");
  EXPECT_EQ(tests::read_text(path), "old");
  AtomicFile file(path);
  file.write("new");
  file.commit();
  EXPECT_EQ(tests::read_text(path), "new");
}

TEST(AtomicFile, LeavesNothingWhenItCannotBePutInPlace) {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "taken";
  fs::create_directories(path / "inside");
  expect_error(ErrorKind::kInvalidInput, {path.string(), "cannot be put in place"}, [&] {
    AtomicFile file(path);
    file.write("text");
    file.commit();
  });
  EXPECT_EQ(entries_of(folder.path()), 1);
}

TEST(AtomicFile, NamesAFolderThatCannotBeWritten) {
  const TemporaryFolder folder;
  expect_error(ErrorKind::kNotFound, {(folder.path() / "missing" / "file").string(), "cannot be written"},
               [&] { AtomicFile(folder.path() / "missing" / "file"); });
  tests::write_text(folder.path() / "file", "");
  expect_error(ErrorKind::kInvalidInput, {(folder.path() / "file" / "file").string(), "cannot be written"},
               [&] { AtomicFile(folder.path() / "file" / "file"); });
}

TEST(AtomicFile, NamesTheFileWhenTheDiskIsFull) {
  if (!fs::exists("/dev/full")) GTEST_SKIP() << "this system has no /dev/full";
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "file";
  // What is written to the temporary neighbour goes to a device that is always full.
  fs::create_symlink("/dev/full", folder.path() / "file.partial");
  expect_error(ErrorKind::kInvalidInput, {path.string(), "No space left"}, [&] { AtomicFile(path).write("text"); });
  EXPECT_EQ(entries_of(folder.path()), 0);
}

TEST(StagedFolder, AppearsWithItsCommit) {
  const TemporaryFolder folder;
  StagedFolder staged(folder.path() / "parent" / "result");
  EXPECT_EQ(staged.path(), folder.path() / "parent" / "result.partial");
  tests::write_text(staged.path() / "file", "text");
  EXPECT_FALSE(fs::exists(folder.path() / "parent" / "result"));
  staged.commit();
  EXPECT_EQ(tests::read_text(folder.path() / "parent" / "result" / "file"), "text");
  EXPECT_FALSE(fs::exists(staged.path()));
}

TEST(StagedFolder, KeepsWhatAnInterruptedRunLeft) {
  const TemporaryFolder folder;
  tests::write_text(StagedFolder(folder.path() / "result").path() / "file", "text");
  StagedFolder again(folder.path() / "result");
  EXPECT_EQ(tests::read_text(again.path() / "file"), "text");
  again.discard();
  EXPECT_EQ(entries_of(folder.path()), 0);
}

TEST(StagedFolder, IgnoresASlashAtTheEnd) {
  const TemporaryFolder folder;
  EXPECT_EQ(StagedFolder(folder.path() / "result/").path(), folder.path() / "result.partial");
}

TEST(StagedFolder, RefusesANameThatIsTaken) {
  const TemporaryFolder folder;
  expect_error(ErrorKind::kInvalidInput, {folder.path().string(), "exists already"},
               [&] { StagedFolder{folder.path()}; });
  expect_error(ErrorKind::kInvalidInput, {folder.path().string(), "exists already"},
               [&] { StagedFolder{folder.path() / ""}; });
}

TEST(StagedFolder, NamesAPlaceWhereItCannotBeMade) {
  const TemporaryFolder folder;
  tests::write_text(folder.path() / "file", "");
  expect_error(ErrorKind::kInvalidInput, {(folder.path() / "file" / "result").string(), "cannot be made"},
               [&] { StagedFolder{folder.path() / "file" / "result"}; });
  const fs::path long_name = folder.path() / std::string(300, 'a');
  expect_error(ErrorKind::kInvalidInput, {long_name.string(), "cannot be made"}, [&] { StagedFolder{long_name}; });
}

}  // namespace
}  // namespace salient::core
