#include "python/module.h"

namespace salient::python {

namespace {

PyObject* error_class = nullptr;

const char* name_of(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kInvalidInput:
      return "invalid_input";
    case ErrorKind::kNotFound:
      return "not_found";
    case ErrorKind::kUnsupported:
      return "unsupported";
    case ErrorKind::kOutOfMemory:
      return "out_of_memory";
    case ErrorKind::kDeviceLost:
      return "device_lost";
    case ErrorKind::kCancelled:
      return "cancelled";
    case ErrorKind::kNetwork:
      return "network";
    case ErrorKind::kInternal:
      break;
  }
  return "internal";
}

void translate(const std::exception_ptr& pointer, void*) {
  try {
    std::rethrow_exception(pointer);
  } catch (const Error& error) {
    const nb::object exception = nb::handle(error_class)(nb::str(error.what()));
    exception.attr("kind") = nb::str(name_of(error.kind()));
    PyErr_SetObject(error_class, exception.ptr());
  }
}

}  // namespace

void add_errors(nb::module_& module) {
  error_class = PyErr_NewExceptionWithDoc("salient.Error",
                                          "What went wrong, in one sentence. `kind` is invalid_input, not_found, "
                                          "unsupported, out_of_memory, device_lost, cancelled, network or internal.",
                                          PyExc_RuntimeError, nullptr);
  if (!error_class) throw nb::python_error();
  module.attr("Error") = nb::handle(error_class);
  nb::register_exception_translator(translate);
}

}  // namespace salient::python
