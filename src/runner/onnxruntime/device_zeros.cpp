#include "runner/onnxruntime/device_zeros.h"

#include <algorithm>
#include <string>
#include <string_view>

namespace salient::runner::ort {

namespace {

constexpr const char* kShape = "shape";
constexpr const char* kZero = "zero";
constexpr const char* kZeros = "zeros";
constexpr const char* kWhat = "keys and values are made zero";

/// A field of a protobuf message, of fewer than 128 bytes. The layers below write ONNX files of any size; this one is
/// not worth depending on them.
std::string field(int number, std::string_view bytes) {
  return std::string{static_cast<char>(number << 3 | 2), static_cast<char>(bytes.size())}.append(bytes);
}

/// A field that is a number below 128.
std::string field(int number, int value) {
  return {static_cast<char>(number << 3), static_cast<char>(value)};
}

/// ValueInfoProto: an input or output whose type and dimensions these are, TensorShapeProto's own fields.
std::string value_info(const char* name, ElementType type, const std::string& dimensions) {
  const std::string tensor = field(1, static_cast<int>(type)) + field(2, dimensions);
  return field(1, name) + field(2, field(1, tensor));
}

/// A ModelProto of one node, zeros = Expand(0, shape); numbers of fields are those of onnx.proto3.
std::string expanding_graph(ElementType type, int rank) {
  const std::string number(type == ElementType::kF16 ? 2 : 4, '\0');
  const std::string zero = field(2, static_cast<int>(type)) + field(8, kZero) + field(9, number);
  const std::string node = field(1, kZero) + field(1, kShape) + field(2, kZeros) + field(4, "Expand");
  std::string any_sizes;
  for (int i = 0; i < rank; ++i) any_sizes += field(1, "");
  const std::string graph = field(1, node) + field(2, kZeros) + field(5, zero) +
                            field(11, value_info(kShape, ElementType::kI64, field(1, field(1, rank)))) +
                            field(12, value_info(kZeros, type, any_sizes));
  constexpr int kIrVersion = 7;
  constexpr int kOperatorSet = 14;
  return field(1, kIrVersion) + field(7, graph) + field(8, field(2, kOperatorSet));
}

}  // namespace

DeviceZeros::DeviceZeros(const Library& library, const SessionOptions* options, ElementType type, int rank)
    : library_(library), session_(library) {
  const std::string graph = expanding_graph(type, rank);
  library.check(
      library.api().create_session_from_array(library.env(), graph.data(), graph.size(), options, session_.out()),
      kWhat);
}

void DeviceZeros::fill(const Value* tensor, std::span<const int64_t> shape) const {
  const Api& api = library_.api();
  Allocator* allocator = nullptr;
  library_.check(api.get_default_allocator(&allocator), kWhat);
  const int64_t rank = std::ssize(shape);
  ValueHandle sizes(library_);
  library_.check(api.create_tensor(allocator, &rank, 1, ElementType::kI64, sizes.out()), kWhat);
  void* data = nullptr;
  library_.check(api.get_tensor_data(sizes.get(), &data), kWhat);
  std::copy(shape.begin(), shape.end(), static_cast<int64_t*>(data));
  BindingHandle binding(library_);
  library_.check(api.create_binding(session_.get(), binding.out()), kWhat);
  library_.check(api.bind_input(binding.get(), kShape, sizes.get()), kWhat);
  library_.check(api.bind_output(binding.get(), kZeros, tensor), kWhat);
  library_.check(api.run_with_binding(session_.get(), nullptr, binding.get()), kWhat);
  library_.check(api.synchronize_bound_outputs(binding.get()), kWhat);
}

}  // namespace salient::runner::ort
