#include <memory>
#include <utility>

#include "python/module.h"

namespace salient::python {

namespace {

/// Functions of Python that the library copies, and drops, without the interpreter's lock.
struct Callbacks {
  nb::object on_progress;
  nb::object on_message;
};

void drop(Callbacks* callbacks) {
  const nb::gil_scoped_acquire lock;
  delete callbacks;
}

}  // namespace

Monitor make_monitor(nb::object on_progress, nb::object on_message, const Cancel* cancel) {
  const bool has_message = !on_message.is_none();
  const std::shared_ptr<Callbacks> callbacks(new Callbacks{std::move(on_progress), std::move(on_message)}, drop);
  Monitor monitor;
  monitor.on_progress = [callbacks](const Progress& progress) {
    const nb::gil_scoped_acquire lock;
    if (PyErr_CheckSignals() != 0) throw nb::python_error();
    if (callbacks->on_progress.is_none()) return;
    callbacks->on_progress(nb::str(progress.task.data(), progress.task.size()), progress.done, progress.total,
                           nb::str(progress.unit.data(), progress.unit.size()));
  };
  if (has_message) {
    monitor.on_message = [callbacks](std::string_view message) {
      const nb::gil_scoped_acquire lock;
      callbacks->on_message(nb::str(message.data(), message.size()));
    };
  }
  if (cancel) monitor.stop = cancel->token();
  return monitor;
}

}  // namespace salient::python
