#include "core/os.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <optional>
#include <thread>

#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace salient::core::os {
namespace {

/// Gives an environment variable a value, or takes it away, until the end of the test.
class Variable {
 public:
  Variable(const char* name, std::optional<std::string> value) : name_(name) {
    if (const char* before = ::getenv(name)) before_ = before;
    set(value);
  }
  ~Variable() { set(before_); }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  void set(const std::optional<std::string>& value) {
    if (value) {
      ::setenv(name_, value->c_str(), 1);
    } else {
      ::unsetenv(name_);
    }
  }
  const char* name_;
  std::optional<std::string> before_;
};

TEST(Environment, GivesTheValueOrNothing) {
  const Variable set("SALIENT_TEST_VARIABLE", "a b");
  EXPECT_EQ(environment("SALIENT_TEST_VARIABLE"), "a b");
  const Variable taken("SALIENT_TEST_VARIABLE", std::nullopt);
  EXPECT_EQ(environment("SALIENT_TEST_VARIABLE"), "");
}

TEST(CacheFolder, IsOurOwnVariableFirst) {
  const Variable own("SALIENT_CACHE", "/own");
  const Variable xdg("XDG_CACHE_HOME", "/xdg");
  const Variable home("HOME", "/home/someone");
  EXPECT_EQ(cache_folder(), "/own");
}

TEST(CacheFolder, IsUnderTheXdgFolderNext) {
  const Variable own("SALIENT_CACHE", "");
  const Variable xdg("XDG_CACHE_HOME", "/xdg");
  const Variable home("HOME", "/home/someone");
  EXPECT_EQ(cache_folder(), "/xdg/salient");
}

TEST(CacheFolder, IsUnderTheHomeFolderLast) {
  const Variable own("SALIENT_CACHE", std::nullopt);
  const Variable xdg("XDG_CACHE_HOME", std::nullopt);
  const Variable home("HOME", "/home/someone");
  EXPECT_EQ(cache_folder(), "/home/someone/.cache/salient");
}

TEST(CacheFolder, NamesTheVariablesWhenNoneIsSet) {
  const Variable own("SALIENT_CACHE", std::nullopt);
  const Variable xdg("XDG_CACHE_HOME", std::nullopt);
  const Variable home("HOME", std::nullopt);
  tests::expect_error(ErrorKind::kNotFound, {"SALIENT_CACHE", "XDG_CACHE_HOME", "HOME"}, [] { cache_folder(); });
}

TEST(UsableCpus, AreAtLeastOneAndAtMostThoseOfTheMachine) {
  EXPECT_GE(usable_cpus(), 1);
  EXPECT_LE(usable_cpus(), static_cast<int>(std::thread::hardware_concurrency()));
}

TEST(CpuName, IsOneLineOfText) {
  EXPECT_FALSE(cpu_name().empty());
  EXPECT_EQ(cpu_name().find('\n'), std::string::npos);
}

TEST(AvailableMemory, IsBetweenAMegabyteAndAPetabyte) {
  EXPECT_GT(available_memory(), uint64_t{1} << 20);
  EXPECT_LT(available_memory(), uint64_t{1} << 50);
}

TEST(RenameDurably, NamesTheNewNameWhenItFails) {
  const tests::TemporaryFolder folder;
  tests::expect_error(ErrorKind::kNotFound, {(folder.path() / "to").string()},
                      [&] { rename_durably(folder.path() / "from", folder.path() / "to"); });
}

TEST(WriteFile, NamesTheFileAndTheSystemsReason) {
  const tests::TemporaryFolder folder;
  const int handle = create_file(folder.path() / "file");
  close_file(handle);
  const char byte = 0;
  tests::expect_error(ErrorKind::kInvalidInput, {"the name: cannot be written: Bad file descriptor"},
                      [&] { write_file(handle, std::as_bytes(std::span(&byte, 1)), "the name"); });
  tests::expect_error(ErrorKind::kInvalidInput, {"the name: cannot be flushed to disk"},
                      [&] { flush_file(handle, "the name"); });
}

}  // namespace
}  // namespace salient::core::os
