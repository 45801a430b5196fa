#include "hub/settings.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <fstream>
#include <initializer_list>

#include "core/error.h"
#include "core/os.h"

namespace salient::hub {

using core::ErrorKind;
using core::fail;
namespace fs = std::filesystem;

namespace {

/// The first of these variables that is set; newer names come first.
std::string first_set(std::initializer_list<const char*> names) {
  for (const char* name : names) {
    if (std::string value = core::os::environment(name); !value.empty()) return value;
  }
  return {};
}

/// Empty when it is not known.
fs::path home_of_the_hub() {
  if (const std::string home = core::os::environment("HF_HOME"); !home.empty()) return home;
  const fs::path shared = core::os::shared_cache_folder();
  return shared.empty() ? shared : shared / "huggingface";
}

fs::path cache_of_the_hub() {
  if (const std::string own = first_set({"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"}); !own.empty()) return own;
  if (const fs::path home = home_of_the_hub(); !home.empty()) return home / "hub";
  fail(ErrorKind::kNotFound, "no cache folder for models: set HF_HUB_CACHE, HF_HOME, XDG_CACHE_HOME or HOME");
}

/// A token without the line ends that editors and shells add.
std::string clean_token(const std::string& text, const std::string& origin) {
  const auto is_space = [](unsigned char c) { return std::isspace(c) != 0; };
  const auto begin = std::find_if_not(text.begin(), text.end(), is_space);
  const auto end = std::find_if_not(text.rbegin(), text.rend(), is_space).base();
  if (begin >= end) return {};
  if (std::any_of(begin, end, [](unsigned char c) { return c <= ' ' || c > '~'; })) {
    fail(ErrorKind::kInvalidInput, "{}: holds a space or another character that no access token has", origin);
  }
  return {begin, end};
}

std::string read_token() {
  if (const std::string token = first_set({"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"}); !token.empty()) {
    return clean_token(token, "HF_TOKEN");
  }
  const std::string named = core::os::environment("HF_TOKEN_PATH");
  const fs::path path = named.empty() ? home_of_the_hub() / "token" : fs::path(named);
  std::ifstream file(path, std::ios::binary);
  std::string line;
  std::getline(file, line);
  return clean_token(line, path.string());
}

bool is_true(std::string value) {
  for (char& c : value) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return value == "1" || value == "ON" || value == "YES" || value == "TRUE";
}

std::chrono::milliseconds read_stall_timeout(std::chrono::milliseconds usual) {
  const std::string text = core::os::environment("SALIENT_STALL_TIMEOUT");
  if (text.empty()) return usual;
  constexpr double kMostSeconds = 86'400;
  char* end = nullptr;
  const double seconds = std::strtod(text.c_str(), &end);
  if (end == text.c_str() || *end != '\0' || !(seconds >= 0.1 && seconds <= kMostSeconds)) {
    fail(ErrorKind::kInvalidInput, "SALIENT_STALL_TIMEOUT is {}, expected seconds between 0.1 and {}", text,
         kMostSeconds);
  }
  return std::chrono::milliseconds(static_cast<int64_t>(seconds * 1000));
}

}  // namespace

Settings read_settings() {
  Settings settings;
  settings.endpoint = core::os::environment("HF_ENDPOINT");
  if (settings.endpoint.empty()) settings.endpoint = "https://huggingface.co";
  while (settings.endpoint.ends_with('/')) settings.endpoint.pop_back();
  if (!settings.endpoint.starts_with("http://") && !settings.endpoint.starts_with("https://")) {
    fail(ErrorKind::kInvalidInput, "HF_ENDPOINT is {}, expected an address that begins with http:// or https://",
         settings.endpoint);
  }
  settings.token = read_token();
  settings.cache = cache_of_the_hub();
  settings.offline = is_true(core::os::environment("HF_HUB_OFFLINE"));
  settings.stall_timeout = read_stall_timeout(settings.stall_timeout);
  return settings;
}

}  // namespace salient::hub
