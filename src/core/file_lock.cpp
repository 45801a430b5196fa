#include "core/file_lock.h"

#include <chrono>
#include <condition_variable>
#include <mutex>

namespace salient::core {

bool FileLock::lock(const std::stop_token& stop) {
  constexpr std::chrono::milliseconds kBetweenTries{100};
  std::mutex mutex;
  std::condition_variable_any wake;
  std::unique_lock held(mutex);
  while (!stop.stop_requested()) {
    if (try_lock()) return true;
    wake.wait_for(held, stop, kBetweenTries, [] { return false; });
  }
  return false;
}

}  // namespace salient::core
