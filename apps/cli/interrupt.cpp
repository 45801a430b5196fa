#include "cli/interrupt.h"

#include <atomic>
#include <chrono>
#include <csignal>

namespace salient::cli {

namespace {

std::atomic<int> interrupts = 0;

/// Only what a signal handler may do: the watcher makes the stop request.
void on_interrupt(int signal) {
  if (interrupts.fetch_add(1) == 0) return;
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

}  // namespace

Interrupt::Interrupt() {
  interrupts = 0;
  std::signal(SIGINT, on_interrupt);
  std::signal(SIGTERM, on_interrupt);
  watcher_ = std::jthread([source = source_](std::stop_token ended) mutable {
    while (!ended.stop_requested()) {
      if (interrupts.load() > 0) {
        source.request_stop();
        return;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  });
}

Interrupt::~Interrupt() {
  std::signal(SIGINT, SIG_DFL);
  std::signal(SIGTERM, SIG_DFL);
}

}  // namespace salient::cli
