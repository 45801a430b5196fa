#include "core/os.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <optional>
#include <thread>

#include "core/mapped_file.h"
#include "tests/support/environment.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace salient::core::os {
namespace {

/// Gives an environment variable a value, or takes it away, until the end of the test.
class Variable {
 public:
  Variable(const char* name, std::optional<std::string> value) : name_(name) {
    if (const char* before = std::getenv(name)) before_ = before;
    set(value);
  }
  ~Variable() { set(before_); }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  void set(const std::optional<std::string>& value) {
    if (value) {
      tests::set_environment(name_, value->c_str());
    } else {
      tests::unset_environment(name_);
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

#ifdef _WIN32

TEST(CacheFolder, IsTheUsersLocalOneNext) {
  const Variable own("SALIENT_CACHE", std::nullopt);
  const Variable local("LOCALAPPDATA", "C:\\Users\\someone\\AppData\\Local");
  EXPECT_EQ(cache_folder(), "C:\\Users\\someone\\AppData\\Local\\salient\\cache");
  EXPECT_EQ(data_folder(), "C:\\Users\\someone\\AppData\\Local\\salient");
}

TEST(CacheFolder, OfAllProgramsIsInTheHomeFolder) {
  const Variable xdg("XDG_CACHE_HOME", std::nullopt);
  const Variable home("USERPROFILE", "C:\\Users\\someone");
  EXPECT_EQ(shared_cache_folder(), "C:\\Users\\someone\\.cache");
}

TEST(CacheFolder, NamesTheVariablesWhenNoneIsSet) {
  const Variable own("SALIENT_CACHE", std::nullopt);
  const Variable local("LOCALAPPDATA", std::nullopt);
  tests::expect_error(ErrorKind::kNotFound, {"SALIENT_CACHE", "LOCALAPPDATA"}, [] { cache_folder(); });
}

#else

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
#ifdef __APPLE__
  EXPECT_EQ(cache_folder(), "/home/someone/Library/Caches/salient");
#else
  EXPECT_EQ(cache_folder(), "/home/someone/.cache/salient");
#endif
  EXPECT_EQ(shared_cache_folder(), "/home/someone/.cache");
}

TEST(DataFolder, IsUnderTheXdgFolderOrTheHomeFolder) {
  const Variable home("HOME", "/home/someone");
  {
    const Variable xdg("XDG_DATA_HOME", "/xdg");
    EXPECT_EQ(data_folder(), "/xdg/salient");
  }
  const Variable xdg("XDG_DATA_HOME", std::nullopt);
#ifdef __APPLE__
  EXPECT_EQ(data_folder(), "/home/someone/Library/Application Support/salient");
#else
  EXPECT_EQ(data_folder(), "/home/someone/.local/share/salient");
#endif
}

TEST(CacheFolder, NamesTheVariablesWhenNoneIsSet) {
  const Variable own("SALIENT_CACHE", std::nullopt);
  const Variable xdg("XDG_CACHE_HOME", std::nullopt);
  const Variable home("HOME", std::nullopt);
  tests::expect_error(ErrorKind::kNotFound, {"SALIENT_CACHE", "XDG_CACHE_HOME", "HOME"}, [] { cache_folder(); });
}

#endif

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

TEST(Environment, IsUtf8) {
#ifdef _WIN32
  ::_wputenv_s(L"SALIENT_TEST_VARIABLE", L"\u00e4\u65e5");
#else
  ::setenv("SALIENT_TEST_VARIABLE", "ä日", 1);
#endif
  EXPECT_EQ(environment("SALIENT_TEST_VARIABLE"), "ä日");
  tests::unset_environment("SALIENT_TEST_VARIABLE");
}

TEST(Files, MayHaveAnyNameOfUnicode) {
  const tests::TemporaryFolder folder;
  const std::filesystem::path path = folder.path() / std::filesystem::path(u8"Grüße 日本 😀");
  const int handle = create_file(path);
  write_file(handle, std::as_bytes(std::span("a\nb", 3)), path);
  close_file(handle);
  EXPECT_EQ(MappedFile(path).bytes().size(), 3u);
  EXPECT_EQ(tests::read_text(path), "a\nb");
  rename_durably(path, folder.path() / "other");
  EXPECT_EQ(tests::read_text(folder.path() / "other"), "a\nb");
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
