#include "runner/onnxruntime/ort_library.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "core/os.h"

namespace salient::runner::ort {

namespace fs = std::filesystem;

namespace {

using core::ErrorKind;
using core::fail;

#if defined(_WIN32)
constexpr const char* kFileNames[] = {"onnxruntime.dll"};
constexpr const char* kFilePrefix = "onnxruntime.dll";
constexpr const char* kPackages = "Lib/site-packages";
#elif defined(__APPLE__)
// The system does not look into Homebrew's folder.
constexpr const char* kFileNames[] = {"libonnxruntime.dylib", "/opt/homebrew/lib/libonnxruntime.dylib"};
constexpr const char* kFilePrefix = "libonnxruntime.";
constexpr const char* kPackages = "lib";
#else
constexpr const char* kFileNames[] = {"libonnxruntime.so.1", "libonnxruntime.so"};
constexpr const char* kFilePrefix = "libonnxruntime.so";
constexpr const char* kPackages = "lib";
#endif

/// The library in a folder, whatever version its name ends with; empty where there is none.
fs::path find_in(const fs::path& folder) {
  std::error_code error;
  std::vector<fs::path> found;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    if (entry.path().filename().string().starts_with(kFilePrefix)) found.push_back(entry.path());
  }
  return found.empty() ? fs::path() : *std::max_element(found.begin(), found.end());
}

/// That of pip's package in the virtual environment that is active.
fs::path find_in_environment() {
  const std::string root = core::os::environment("VIRTUAL_ENV");
  if (root.empty()) return {};
  const fs::path packages = fs::path(root) / kPackages;
  std::error_code error;
  std::vector<fs::path> folders = {packages};
  for (const auto& entry : fs::directory_iterator(packages, error)) folders.push_back(entry.path() / "site-packages");
  for (const fs::path& folder : folders) {
    if (const fs::path file = find_in(folder / "onnxruntime/capi"); !file.empty()) return file;
  }
  return {};
}

fs::path named_file(const std::string& name) {
  if (!fs::is_directory(name)) return name;
  const fs::path file = find_in(name);
  if (!file.empty()) return file;
  fail(ErrorKind::kNotFound, "{} is {}, where there is no {}", kLibraryVariable, name, kFileNames[0]);
}

std::unique_ptr<Library> open_where_it_may_be() {
  if (const std::string name = core::os::environment(kLibraryVariable); !name.empty()) {
    return std::make_unique<Library>(named_file(name));
  }
  // What is there and is not fit says why; what is not there only matters when nothing else is.
  for (const char* name : kFileNames) {
    try {
      return std::make_unique<Library>(name);
    } catch (const core::Error& error) {
      if (error.kind() != ErrorKind::kNotFound) throw;
    }
  }
  if (const fs::path file = find_in_environment(); !file.empty()) return std::make_unique<Library>(file);
  fail(ErrorKind::kNotFound,
       "ONNX Runtime is not installed: pip install onnxruntime, and name its library ({} in onnxruntime/capi) in {}",
       kFileNames[0], kLibraryVariable);
}

void* load(const fs::path& file) {
  try {
    return core::os::load_library(file);
  } catch (const core::Error& error) {
    fail(error.kind(), "ONNX Runtime cannot be loaded: {}", error.what());
  }
}

const ApiBase& base_of(void* handle, const fs::path& file) {
  auto* get_base = reinterpret_cast<const ApiBase* (*)()>(core::os::find_function(handle, "OrtGetApiBase"));
  if (get_base) return *get_base();
  fail(ErrorKind::kUnsupported, "{} is not ONNX Runtime: it has no function OrtGetApiBase", file.string());
}

void* const* table_of(void* handle, const fs::path& file) {
  const ApiBase& base = base_of(handle, file);
  void* const* table = base.get_api(kApiVersion);
  if (table) return table;
  fail(ErrorKind::kUnsupported, "{} is ONNX Runtime {}, expected 1.{} or later", file.string(), base.get_version(),
       kApiVersion);
}

}  // namespace

Library::Library(const fs::path& file)
    : file_(file), handle_(load(file)), version_(base_of(handle_, file).get_version()), api_{table_of(handle_, file)} {
  // Errors come back as a status; what is said besides would only stand between.
  check(api_.create_env(kLogFatal, "salient", &env_), "ONNX Runtime does not start");
}

std::vector<std::string> Library::providers() const {
  char** names = nullptr;
  int count = 0;
  check(api_.get_available_providers(&names, &count), "its providers cannot be listed");
  const std::vector<std::string> all(names, names + count);
  check(api_.release_available_providers(names, count), "its providers cannot be listed");
  return all;
}

void* Library::find_function(const char* name) const {
  return core::os::find_function(handle_, name);
}

void Library::check(Status* status, std::string_view what, ErrorKind kind) const {
  if (!status) return;
  std::string message = api_.get_error_message(status);
  api_.release_status(status);
  std::replace(message.begin(), message.end(), '\n', ' ');
  fail(kind, "{}: ONNX Runtime {}: {}", what, version_, message);
}

const Library& library() {
  static const std::unique_ptr<Library> opened = open_where_it_may_be();
  return *opened;
}

}  // namespace salient::runner::ort
