#pragma once

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <new>
#include <span>
#include <unordered_set>

#include "core/error.h"

namespace salient::api {

/// What a handle of the C interface is. A debug build knows those that live, and so finds the use of others.
template <typename Self>
class Handle {
 public:
  Handle() {
    if constexpr (kChecked) {
      const std::lock_guard lock(mutex());
      alive().insert(this);
    }
  }
  ~Handle() {
    if constexpr (kChecked) {
      const std::lock_guard lock(mutex());
      alive().erase(this);
    }
  }
  Handle(const Handle&) : Handle() {}
  Handle& operator=(const Handle&) { return *this; }

  /// Whether it can be used: it is not null and, as far as a debug build knows, was not destroyed.
  static bool is_alive(const Self* handle) {
    if constexpr (!kChecked) return handle != nullptr;
    const std::lock_guard lock(mutex());
    return alive().contains(static_cast<const Handle*>(handle));
  }
  /// Does nothing for null, and in a debug build for one that was destroyed before.
  static void destroy(Self* handle) {
    if (is_alive(handle)) delete handle;
  }

 private:
#ifdef NDEBUG
  static constexpr bool kChecked = false;
#else
  static constexpr bool kChecked = true;
#endif
  static std::mutex& mutex() {
    static std::mutex instance;
    return instance;
  }
  static std::unordered_set<const Handle*>& alive() {
    static std::unordered_set<const Handle*> instance;
    return instance;
  }
};

/// The argument, which must not be null, nor a handle that was destroyed.
template <typename Type>
Type& require(Type* argument, const char* name) {
  if (!argument) core::fail(core::ErrorKind::kInvalidInput, "{} is null", name);
  if constexpr (requires { Type::is_alive(argument); }) {
    if (!Type::is_alive(argument)) core::fail(core::ErrorKind::kInvalidInput, "{} was destroyed before", name);
  }
  return *argument;
}

/// A copy that C frees with free(); that of nothing is not null.
template <typename Element>
Element* copy_for_c(std::span<const Element> elements) {
  auto* data = static_cast<Element*>(std::malloc(std::max<size_t>(elements.size(), 1) * sizeof(Element)));
  if (!data) throw std::bad_alloc();
  if (!elements.empty()) std::memcpy(data, elements.data(), elements.size_bytes());
  return data;
}

}  // namespace salient::api
