#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/error.h"
#include "runner/onnxruntime/ort_api.h"

namespace salient::runner::ort {

/// The environment variable that names the library: a file, or a folder that has it.
inline constexpr const char* kLibraryVariable = "SALIENT_ONNXRUNTIME";

/// ONNX Runtime's library, opened at run time.
class Library {
 public:
  /// Opens a library. Throws not_found for what cannot be loaded, unsupported for what is not ONNX Runtime or too old.
  explicit Library(const std::filesystem::path& file);
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;

  const std::filesystem::path& file() const { return file_; }
  const std::string& version() const { return version_; }
  const Api& api() const { return api_; }
  const Env* env() const { return env_; }
  /// As the library calls them: "CPUExecutionProvider", ...
  std::vector<std::string> providers() const;
  /// A function that the library has beside its table; null where it has none of that name.
  void* find_function(const char* name) const;

  /// Does nothing for null; else releases the status and throws `kind` with `what` and what the library says.
  void check(Status* status, std::string_view what, core::ErrorKind kind = core::ErrorKind::kInternal) const;

 private:
  std::filesystem::path file_;
  void* handle_;
  std::string version_;
  Api api_;
  Env* env_ = nullptr;
};

/// The process's library, opened when it is first asked for and never closed: what SALIENT_ONNXRUNTIME names, or else
/// what the system's loader finds, or pip's in the virtual environment that is active. Throws not_found or unsupported,
/// saying what to do.
const Library& library();

/// An object of the library's that its last holder releases.
template <typename Object, auto kRelease>
class Handle {
 public:
  Handle() = default;
  explicit Handle(const Library& library) : library_(&library) {}
  Handle(const Library& library, Object* object) : library_(&library), object_(object) {}
  Handle(Handle&& other) noexcept : library_(other.library_), object_(std::exchange(other.object_, nullptr)) {}
  Handle& operator=(Handle&& other) noexcept {
    std::swap(library_, other.library_);
    std::swap(object_, other.object_);
    return *this;
  }
  ~Handle() {
    if (object_) (library_->api().*kRelease)(object_);
  }

  Object* get() const { return object_; }
  /// Where a function that makes one puts it.
  Object** out() { return &object_; }
  explicit operator bool() const { return object_ != nullptr; }

 private:
  const Library* library_ = nullptr;
  Object* object_ = nullptr;
};

using AllocatorHandle = Handle<Allocator, &Api::release_allocator>;
using BindingHandle = Handle<Binding, &Api::release_binding>;
using CudaOptionsHandle = Handle<CudaOptions, &Api::release_cuda_options>;
using MemoryInfoHandle = Handle<MemoryInfo, &Api::release_memory_info>;
using SessionHandle = Handle<Session, &Api::release_session>;
using SessionOptionsHandle = Handle<SessionOptions, &Api::release_session_options>;
using TensorInfoHandle = Handle<TensorInfo, &Api::release_tensor_info>;
using TypeInfoHandle = Handle<TypeInfo, &Api::release_type_info>;
using ValueHandle = Handle<Value, &Api::release_value>;

}  // namespace salient::runner::ort
