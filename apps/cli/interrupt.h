#pragma once

#include <stop_token>
#include <thread>

namespace salient::cli {

/// Turns Ctrl-C into a stop request for as long as it lives. A second Ctrl-C before the first was answered ends the
/// program at once.
class Interrupt {
 public:
  Interrupt();
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

  std::stop_token token() const { return source_.get_token(); }
  bool requested() const { return source_.stop_requested(); }
  /// Forgets an answered Ctrl-C, so that the next one is the first again.
  void reset();

 private:
  void start_watching();
  std::stop_source source_;
  std::jthread watcher_;
};

}  // namespace salient::cli
