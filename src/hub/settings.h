#pragma once

#include <chrono>
#include <filesystem>
#include <string>

namespace salient::hub {

/// Where models come from and where they are kept: the environment variables that other programs of the hub obey too.
struct Settings {
  std::string endpoint;                             ///< HF_ENDPOINT, without a slash at its end
  std::string token;                                ///< HF_TOKEN, or the file that `hf auth login` writes; empty: none
  std::filesystem::path cache;                      ///< HF_HUB_CACHE, or hub in HF_HOME
  bool offline = false;                             ///< HF_HUB_OFFLINE
  std::chrono::milliseconds stall_timeout{30'000};  ///< SALIENT_STALL_TIMEOUT, in seconds there
};

/// Throws invalid_input for a value that cannot be used.
Settings read_settings();

}  // namespace salient::hub
