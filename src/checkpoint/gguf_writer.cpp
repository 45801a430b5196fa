#include "checkpoint/gguf_writer.h"

#include <algorithm>
#include <span>
#include <type_traits>

#include "checkpoint/gguf_types.h"
#include "core/atomic_output.h"
#include "core/error.h"

namespace salient::checkpoint {

using core::ErrorKind;
using core::fail;

namespace {

template <typename T>
void put(std::string& bytes, T value) {
  static_assert(std::is_arithmetic_v<T> || std::is_enum_v<T>);
  bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
}

void put(std::string& bytes, const std::string& text) {
  put(bytes, uint64_t{text.size()});
  bytes += text;
}

template <typename T>
constexpr GgufValueType value_type() {
  if constexpr (std::is_same_v<T, uint32_t>) {
    return GgufValueType::kU32;
  } else if constexpr (std::is_same_v<T, int32_t>) {
    return GgufValueType::kI32;
  } else if constexpr (std::is_same_v<T, float>) {
    return GgufValueType::kF32;
  } else if constexpr (std::is_same_v<T, bool>) {
    return GgufValueType::kBool;
  } else {
    static_assert(std::is_same_v<T, std::string>);
    return GgufValueType::kString;
  }
}

template <typename T>
void put_value(std::string& bytes, const T& value) {
  put(bytes, value_type<T>());
  put(bytes, value);
}

template <typename T>
void put_value(std::string& bytes, const std::vector<T>& values) {
  put(bytes, GgufValueType::kArray);
  put(bytes, value_type<T>());
  put(bytes, uint64_t{values.size()});
  for (const T& value : values) put(bytes, value);
}

uint32_t ggml_type_of(const GgufOutputTensor& tensor) {
  for (const auto& [number, dtype] : kGgufTensorTypes) {
    if (dtype == tensor.dtype) return number;
  }
  fail(ErrorKind::kUnsupported, "tensor {}: is {}, which GGUF does not have", tensor.name,
       core::info_of(tensor.dtype).name);
}

uint64_t size_of(const GgufOutputTensor& tensor) {
  const core::DTypeInfo& info = core::info_of(tensor.dtype);
  uint64_t elements = 1;
  for (const int64_t size : tensor.shape) elements *= static_cast<uint64_t>(size);
  return elements / static_cast<uint64_t>(info.block_elements) * static_cast<uint64_t>(info.block_bytes);
}

uint64_t padding_after(uint64_t bytes) {
  return (kGgufAlignment - bytes % kGgufAlignment) % kGgufAlignment;
}

std::string make_header(const GgufOutputMetadata& metadata, const std::vector<GgufOutputTensor>& tensors) {
  constexpr uint32_t kVersion = 3;
  std::string bytes;
  put(bytes, kGgufMagic);
  put(bytes, kVersion);
  put(bytes, uint64_t{tensors.size()});
  put(bytes, uint64_t{metadata.size()});
  for (const auto& [key, value] : metadata) {
    put(bytes, key);
    std::visit([&](const auto& known) { put_value(bytes, known); }, value);
  }
  uint64_t offset = 0;
  for (const GgufOutputTensor& tensor : tensors) {
    put(bytes, tensor.name);
    put(bytes, static_cast<uint32_t>(tensor.shape.size()));
    for (auto size = tensor.shape.rbegin(); size != tensor.shape.rend(); ++size)
      put(bytes, static_cast<uint64_t>(*size));
    put(bytes, ggml_type_of(tensor));
    put(bytes, offset);
    offset += size_of(tensor) + padding_after(size_of(tensor));
  }
  bytes.append(padding_after(bytes.size()), '\0');
  return bytes;
}

}  // namespace

uint64_t write_gguf(const std::filesystem::path& path, const GgufOutputMetadata& metadata,
                    const std::vector<GgufOutputTensor>& tensors, const core::ProgressCallback& progress,
                    const std::stop_token& stop) {
  if (std::filesystem::exists(path)) {
    fail(ErrorKind::kInvalidInput, "{}: exists already; choose another name or remove it", path.string());
  }
  const std::string header = make_header(metadata, tensors);
  core::AtomicFile file(path);
  file.write(header);
  uint64_t written = header.size();
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (stop.stop_requested()) fail(ErrorKind::kCancelled, "interrupted");
    std::vector<std::byte> bytes = tensors[i].read();
    if (bytes.size() != size_of(tensors[i])) {
      fail(ErrorKind::kInternal, "tensor {}: has {} bytes, expected {}", tensors[i].name, bytes.size(),
           size_of(tensors[i]));
    }
    bytes.resize(bytes.size() + padding_after(bytes.size()));
    file.write(bytes);
    written += bytes.size();
    if (progress) {
      progress({"exporting", static_cast<int64_t>(i + 1), static_cast<int64_t>(tensors.size()), "tensors", {}});
    }
  }
  file.commit();
  return written;
}

}  // namespace salient::checkpoint
