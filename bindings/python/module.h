#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/function.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <cstdint>
#include <salient/salient.hpp>
#include <span>
#include <stop_token>
#include <vector>

namespace salient::python {

namespace nb = nanobind;

using IdArray = nb::ndarray<nb::numpy, int32_t, nb::ndim<1>>;
using LogitArray = nb::ndarray<nb::numpy, float, nb::ndim<1>>;

/// Numbers that Python gave, as an array of their own kind (not copied) or a sequence of numbers (copied).
template <typename Number>
class Numbers {
 public:
  /// Throws TypeError, naming the argument, for another type of number, shape or layout.
  Numbers(nb::handle object, const char* name);
  std::span<const Number> span() const { return span_; }

 private:
  nb::object keep_alive_;
  std::vector<Number> copy_;
  std::span<const Number> span_;
};

/// An array that takes over the numbers.
nb::ndarray<nb::numpy, int32_t, nb::ndim<1>> to_array(std::vector<int32_t> numbers);
nb::ndarray<nb::numpy, float, nb::ndim<1>> to_array(std::vector<float> numbers);

/// salient.Cancel: stops the work that it was given to.
class Cancel {
 public:
  void cancel() { source_.request_stop(); }
  bool cancelled() const { return source_.stop_requested(); }
  std::stop_token token() const { return source_.get_token(); }

 private:
  std::stop_source source_;
};

/// What watches long work: Python functions, which the work calls with the interpreter's lock. Ctrl-C ends the work.
Monitor make_monitor(nb::object on_progress, nb::object on_message, const Cancel* cancel);

/// salient.Error, which salient::Error becomes; its `kind` is "invalid_input", "not_found", ...
void add_errors(nb::module_& module);
/// Model, Tokenizer, Generator, ...
void add_generation(nb::module_& module);
/// quantize, perplexity, ...
void add_jobs(nb::module_& module);

}  // namespace salient::python
