#include "core/mapped_file.h"

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace salient::core {
namespace {

TEST(MappedFile, HoldsTheBytesOfTheFile) {
  const tests::TemporaryFolder folder;
  const std::filesystem::path path = folder.path() / "file";
  const std::string text("a\0b\xff", 4);
  tests::write_text(path, text);
  const MappedFile file(path);
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()), text);
  EXPECT_EQ(file.path(), path);
}

TEST(MappedFile, CanBeReadAgainAfterItsPagesWereReleased) {
  const tests::TemporaryFolder folder;
  const std::filesystem::path path = folder.path() / "file";
  const std::string text(100000, 'x');
  tests::write_text(path, text);
  const MappedFile file(path);
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(std::string(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()), text);
    file.release();
  }
}

TEST(MappedFile, NamesAFileThatIsMissing) {
  const tests::TemporaryFolder folder;
  const std::filesystem::path path = folder.path() / "missing";
  tests::expect_error(ErrorKind::kNotFound, {path.string()}, [&] { MappedFile{path}; });
}

TEST(MappedFile, RefusesWhatHasNoBytes) {
  const tests::TemporaryFolder folder;
  const std::filesystem::path path = folder.path() / "empty";
  tests::write_text(path, "");
  tests::expect_error(ErrorKind::kInvalidInput, {path.string(), "is empty"}, [&] { MappedFile{path}; });
  tests::expect_error(ErrorKind::kInvalidInput, {folder.path().string(), "not a regular file"},
                      [&] { MappedFile{folder.path()}; });
}

}  // namespace
}  // namespace salient::core
