#include "core/file_lock.h"

#include <gtest/gtest.h>

#include <optional>

#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace salient::core {
namespace {

TEST(FileLock, IsHeldByOneUntilItIsReleased) {
  const tests::TemporaryFolder folder;
  std::optional<FileLock> first(folder.path() / "lock");
  FileLock second(folder.path() / "lock");
  EXPECT_TRUE(first->try_lock());
  EXPECT_TRUE(first->try_lock()) << "who holds it keeps it";
  EXPECT_FALSE(second.try_lock());
  first.reset();
  EXPECT_TRUE(second.try_lock());
}

TEST(FileLock, NamesAFileThatCannotBeMade) {
  const tests::TemporaryFolder folder;
  tests::expect_error(ErrorKind::kNotFound, {"none", "cannot be opened"},
                      [&] { FileLock(folder.path() / "none" / "x"); });
}

}  // namespace
}  // namespace salient::core
