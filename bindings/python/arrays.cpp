#include <string>
#include <type_traits>
#include <utility>

#include "python/module.h"

namespace salient::python {

namespace {

template <typename Number>
constexpr const char* kNumberName = std::is_same_v<Number, int32_t> ? "int32" : "float32";

template <typename Number>
nb::ndarray<nb::numpy, Number, nb::ndim<1>> hand_over(std::vector<Number> numbers) {
  auto* owned = new std::vector<Number>(std::move(numbers));
  const nb::capsule owner(owned, [](void* pointer) noexcept { delete static_cast<std::vector<Number>*>(pointer); });
  return nb::ndarray<nb::numpy, Number, nb::ndim<1>>(owned->data(), {owned->size()}, owner);
}

}  // namespace

template <typename Number>
Numbers<Number>::Numbers(nb::handle object, const char* name) {
  nb::ndarray<nb::ro> any;
  if (nb::try_cast(object, any, false)) {
    nb::ndarray<const Number, nb::ndim<1>, nb::c_contig, nb::device::cpu> array;
    if (!nb::try_cast(object, array, false)) {
      const nb::object known = nb::getattr(object, "dtype", nb::str("bytes"));
      const auto dtype = nb::cast<std::string>(known.attr("__str__")());
      throw nb::type_error((std::string(name) + ": expected a one-dimensional contiguous array of " +
                            kNumberName<Number> + ", got " + dtype + " of " + std::to_string(any.ndim()) +
                            " dimension" + (any.ndim() == 1 ? "" : "s"))
                               .c_str());
    }
    keep_alive_ = nb::borrow(object);
    span_ = {array.data(), array.size()};
    return;
  }
  if (!nb::try_cast(object, copy_, true)) {
    throw nb::type_error(
        (std::string(name) + ": expected an array or a sequence of " + kNumberName<Number> + " numbers").c_str());
  }
  span_ = copy_;
}

template class Numbers<int32_t>;
template class Numbers<float>;

IdArray to_array(std::vector<int32_t> numbers) {
  return hand_over(std::move(numbers));
}

LogitArray to_array(std::vector<float> numbers) {
  return hand_over(std::move(numbers));
}

}  // namespace salient::python
