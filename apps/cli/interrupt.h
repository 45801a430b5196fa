#pragma once

#include <stop_token>
#include <thread>

namespace salient::cli {

/// Turns Ctrl-C, or the polite request to end (SIGTERM), into a stop request for as long as it lives. A second Ctrl-C
/// before the first was answered ends the program at once.
class Interrupt {
 public:
  Interrupt();
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

  std::stop_token token() const { return source_.get_token(); }

 private:
  std::stop_source source_;
  std::jthread watcher_;
};

}  // namespace salient::cli
