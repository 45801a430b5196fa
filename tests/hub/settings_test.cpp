#include "hub/settings.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "core/error.h"
#include "tests/support/temporary_folder.h"

namespace salient::hub {
namespace {

using namespace std::chrono_literals;

class SettingsTest : public testing::Test {
 protected:
  void SetUp() override {
    clear();
    ::setenv("XDG_CACHE_HOME", folder_.path().c_str(), 1);
  }
  void TearDown() override { clear(); }
  static void clear() {
    for (const char* name :
         {"HF_ENDPOINT", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH", "HF_HOME", "HF_HUB_CACHE",
          "HUGGINGFACE_HUB_CACHE", "HF_HUB_OFFLINE", "SALIENT_STALL_TIMEOUT", "XDG_CACHE_HOME"}) {
      ::unsetenv(name);
    }
  }
  static std::string failure() {
    try {
      read_settings();
      return "done";
    } catch (const core::Error& error) {
      return error.what();
    }
  }
  tests::TemporaryFolder folder_;
};

TEST_F(SettingsTest, AreThoseOfTheHubWithoutAnyVariable) {
  const Settings settings = read_settings();
  EXPECT_EQ(settings.endpoint, "https://huggingface.co");
  EXPECT_EQ(settings.token, "");
  EXPECT_EQ(settings.cache, folder_.path() / "huggingface" / "hub");
  EXPECT_FALSE(settings.offline);
  EXPECT_EQ(settings.stall_timeout, 30s);
}

TEST_F(SettingsTest, ObeyTheVariablesOfTheHub) {
  ::setenv("HF_ENDPOINT", "http://127.0.0.1:1/", 1);
  ::setenv("HF_TOKEN", "hf_a\n", 1);
  ::setenv("HF_HOME", "/home", 1);
  ::setenv("HF_HUB_OFFLINE", "yes", 1);
  ::setenv("SALIENT_STALL_TIMEOUT", "1.5", 1);
  Settings settings = read_settings();
  EXPECT_EQ(settings.endpoint, "http://127.0.0.1:1");
  EXPECT_EQ(settings.token, "hf_a");
  EXPECT_EQ(settings.cache, "/home/hub");
  EXPECT_TRUE(settings.offline);
  EXPECT_EQ(settings.stall_timeout, 1500ms);
  ::setenv("HF_HUB_CACHE", "/cache", 1);
  EXPECT_EQ(read_settings().cache, "/cache");
}

TEST_F(SettingsTest, FindTheTokenThatALoginLeft) {
  std::filesystem::create_directories(folder_.path() / "huggingface");
  tests::write_text(folder_.path() / "huggingface" / "token", "hf_b\n");
  EXPECT_EQ(read_settings().token, "hf_b");
  tests::write_text(folder_.path() / "elsewhere", "hf_c");
  ::setenv("HF_TOKEN_PATH", (folder_.path() / "elsewhere").c_str(), 1);
  EXPECT_EQ(read_settings().token, "hf_c");
  ::setenv("HF_TOKEN", "hf_d", 1);
  EXPECT_EQ(read_settings().token, "hf_d");
}

TEST_F(SettingsTest, ThatMakeNoSenseAreRefused) {
  ::setenv("HF_TOKEN", "hf_a\r\nX-Header: b", 1);
  EXPECT_EQ(failure(), "HF_TOKEN: holds a space or another character that no access token has");
  ::setenv("HF_TOKEN", "", 1);
  ::setenv("HF_ENDPOINT", "huggingface.co", 1);
  EXPECT_EQ(failure(), "HF_ENDPOINT is huggingface.co, expected an address that begins with http:// or https://");
  ::unsetenv("HF_ENDPOINT");
  for (const char* text : {"soon", "0", "-1", "nan", "1s"}) {
    ::setenv("SALIENT_STALL_TIMEOUT", text, 1);
    EXPECT_EQ(failure(), "SALIENT_STALL_TIMEOUT is " + std::string(text) + ", expected seconds between 0.1 and 86400");
  }
}

}  // namespace
}  // namespace salient::hub
