#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <stop_token>
#include <string>

namespace salient::hub {

/// The wait before the second try of a transfer; it doubles with each further one.
inline constexpr std::chrono::milliseconds kFirstWait{500};
inline constexpr std::chrono::milliseconds kStallTimeout{30'000};

struct TransferOptions {
  std::string token = {};  ///< goes to the host of the URL only, not where that redirects to
  std::chrono::milliseconds stall_timeout = kStallTimeout;  ///< a server that sends next to nothing so long is left
  std::chrono::milliseconds first_wait = kFirstWait;
  std::stop_token stop = {};
};

/// How a transfer ended, after as many tries as could help.
struct TransferOutcome {
  bool done = false;
  bool local_failure = false;  ///< a file of this machine could not be written
  bool wrong_answer = false;   ///< the server sends other things than were asked for
  int status = 0;              ///< of the server's last answer; 0: there was none
  std::string error;           ///< why it is not done: "the server answered 404 Not Found"
  std::string error_code;      ///< the hub's own name for what is wrong: "GatedRepo"
  std::string link;            ///< the header Link
  std::string etag;            ///< the name of the content, without quotes
  uint64_t size = 0;           ///< of the content; 0: unknown
};

/// The body of `url`, of at most `most_bytes`. A server that is busy or cuts the connection is asked again a few times,
/// after the time it asks for. Throws cancelled only.
TransferOutcome get_text(const std::string& url, uint64_t most_bytes, const TransferOptions& options,
                         std::string& body);

/// What the server says about `url` without sending it. As `get_text`.
TransferOutcome get_head(const std::string& url, const TransferOptions& options);

/// Called with bytes so far and in all (0: unknown).
using ByteProgress = std::function<void(uint64_t done, uint64_t total)>;

/// Brings `url` into `path`, going on where that file ends; `expected_size` is 0 when it is not known. Tries again as
/// `get_text` does, for as long as some of the tries bring the file on. An incomplete file stays. Throws cancelled, and
/// what `progress` throws.
TransferOutcome get_file(const std::string& url, const std::filesystem::path& path, uint64_t expected_size,
                         const TransferOptions& options, const ByteProgress& progress);

}  // namespace salient::hub
