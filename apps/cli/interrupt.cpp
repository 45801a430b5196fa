#include "cli/interrupt.h"

#include <atomic>
#include <chrono>

#include "core/os.h"

namespace salient::cli {

namespace {

std::atomic<int> interrupts = 0;

/// Only what a signal handler may do: the watcher makes the stop request.
bool on_interrupt() {
  return interrupts.fetch_add(1) == 0;
}

}  // namespace

Interrupt::Interrupt() {
  interrupts = 0;
  core::os::set_interrupt_handler(on_interrupt);
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
  core::os::set_interrupt_handler(nullptr);
}

}  // namespace salient::cli
