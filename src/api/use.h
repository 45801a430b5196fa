#pragma once

#include <atomic>

#include "core/error.h"

namespace salient::api {

/// Holds a generator for one thread, which must not wait: two in one generator is a mistake.
class Use {
 public:
  explicit Use(std::atomic<bool>& in_use) : in_use_(in_use) {
    if (in_use_.exchange(true)) {
      core::fail(core::ErrorKind::kInvalidInput,
                 "this generator is at work, expected one thread at a time, and not its own callback");
    }
  }
  ~Use() { in_use_ = false; }
  Use(const Use&) = delete;
  Use& operator=(const Use&) = delete;

 private:
  std::atomic<bool>& in_use_;
};

}  // namespace salient::api
