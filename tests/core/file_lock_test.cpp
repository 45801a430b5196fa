#include "core/file_lock.h"

#include <gtest/gtest.h>

#include <optional>
#include <thread>

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

TEST(FileLock, IsWaitedForUntilItIsReleasedOrTheWaitIsStopped) {
  const tests::TemporaryFolder folder;
  std::optional<FileLock> first(folder.path() / "lock");
  FileLock second(folder.path() / "lock");
  ASSERT_TRUE(first->lock({}));
  std::stop_source source;
  source.request_stop();
  EXPECT_FALSE(second.lock(source.get_token()));
  const std::jthread waiting([&] { EXPECT_TRUE(second.lock({})); });
  first.reset();
}

TEST(FileLock, NamesAFileThatCannotBeMade) {
  const tests::TemporaryFolder folder;
  tests::expect_error(ErrorKind::kNotFound, {"none", "cannot be opened"},
                      [&] { FileLock(folder.path() / "none" / "x"); });
}

}  // namespace
}  // namespace salient::core
