#include "hub/http.h"

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <utility>

#include "core/error.h"
#include "rust/rust_text.h"

namespace salient::hub {

using core::ErrorKind;
using core::fail;
namespace fs = std::filesystem;

namespace {

/// In a row, without a try in between that brought a file on.
constexpr int kTries = 4;
constexpr uint64_t kBytesThatCount = 1 << 20;
/// A server that asks for a longer wait is not waited for.
constexpr uint64_t kMostSecondsToWait = 120;

/// What one transfer needs while the crate makes it.
struct Call {
  const ByteProgress& progress;
  std::stop_token stop;
  std::exception_ptr failure = nullptr;  ///< what the callback threw: it must not unwind through the crate
  uint64_t last_done = 0;
};

bool report(void* context, uint64_t done, uint64_t total) {
  auto& call = *static_cast<Call*>(context);
  try {
    if (call.progress && done != std::exchange(call.last_done, done)) call.progress(done, total);
  } catch (...) {
    call.failure = std::current_exception();
    return false;
  }
  return !call.stop.stop_requested();
}

/// Whether another try may have another outcome. 416 means that the partial file was of no use, and that it is gone.
bool may_change(const TransferOutcome& outcome) {
  const int status = outcome.status;
  return !outcome.local_failure && !outcome.wrong_answer &&
         (status < 400 || status >= 500 || status == 408 || status == 416 || status == 429);
}

void wait(std::chrono::milliseconds time, const std::stop_token& stop) {
  std::mutex mutex;
  std::unique_lock lock(mutex);
  std::condition_variable_any().wait_for(lock, stop, time, [] { return false; });
}

[[noreturn]] void fail_as_interrupted(const std::string& url) {
  fail(ErrorKind::kCancelled, "{}: the download was interrupted", url);
}

TransferOutcome to_outcome(bool done, const salient_http_answer& answer, salient_text error) {
  return {.done = done,
          .local_failure = !done && answer.failure == salient_failure_local,
          .wrong_answer = !done && answer.failure == salient_failure_answer,
          .status = answer.status,
          .error = done ? std::string() : rust::take(error),
          .error_code = rust::take(answer.error_code),
          .link = rust::take(answer.link),
          .etag = rust::take(answer.etag),
          .size = answer.size};
}

/// Makes a transfer, and makes it again where that may help. `attempt` takes the request, the answer and the error;
/// `bytes_here` says how much of the file there is.
template <typename Attempt, typename BytesHere>
TransferOutcome repeat(const std::string& url, const TransferOptions& options, const ByteProgress& progress,
                       const Attempt& attempt, const BytesHere& bytes_here) {
  Call call{progress, options.stop};
  const salient_http_request request{url.data(),
                                     url.size(),
                                     options.token.data(),
                                     options.token.size(),
                                     static_cast<uint64_t>(options.stall_timeout.count()),
                                     report,
                                     &call};
  TransferOutcome outcome;
  for (int failures = 0; failures < kTries;) {
    if (options.stop.stop_requested()) fail_as_interrupted(url);
    const uint64_t before = bytes_here();
    salient_http_answer answer{};
    salient_text error{};
    const bool done = attempt(request, answer, error);
    outcome = to_outcome(done, answer, error);
    if (call.failure) std::rethrow_exception(call.failure);
    if (done) return outcome;
    if (options.stop.stop_requested()) fail_as_interrupted(url);
    if (!may_change(outcome)) return outcome;
    if (answer.retry_after > kMostSecondsToWait) {
      outcome.error += fmt::format(" and asks to come back in {} seconds", answer.retry_after);
      return outcome;
    }
    failures = bytes_here() >= before + kBytesThatCount ? 0 : failures + 1;
    if (failures == kTries) break;
    const std::chrono::milliseconds usual = options.first_wait * (1 << std::max(failures - 1, 0));
    wait(std::max<std::chrono::milliseconds>(usual, std::chrono::seconds(answer.retry_after)), options.stop);
  }
  return outcome;
}

TransferOutcome get(const std::string& url, uint64_t most_bytes, const TransferOptions& options, std::string& body) {
  return repeat(
      url, options, {},
      [&](const salient_http_request& request, salient_http_answer& answer, salient_text& error) {
        salient_text text{};
        const bool done = salient_http_get(&request, most_bytes, &text, &answer, &error);
        if (done) body = rust::take(text);
        return done;
      },
      [] { return uint64_t{0}; });
}

}  // namespace

TransferOutcome get_text(const std::string& url, uint64_t most_bytes, const TransferOptions& options,
                         std::string& body) {
  return get(url, most_bytes, options, body);
}

TransferOutcome get_head(const std::string& url, const TransferOptions& options) {
  std::string nothing;
  return get(url, 0, options, nothing);
}

TransferOutcome get_file(const std::string& url, const fs::path& path, uint64_t expected_size,
                         const TransferOptions& options, const ByteProgress& progress) {
  const std::string name = path.string();
  return repeat(
      url, options, progress,
      [&](const salient_http_request& request, salient_http_answer& answer, salient_text& error) {
        return salient_download(&request, name.data(), name.size(), expected_size, &answer, &error);
      },
      [&]() -> uint64_t {
        std::error_code error;
        const uintmax_t size = fs::file_size(path, error);
        return error ? 0 : size;
      });
}

}  // namespace salient::hub
