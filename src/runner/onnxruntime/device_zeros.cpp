#include "runner/onnxruntime/device_zeros.h"

#include <algorithm>
#include <protozero/pbf_writer.hpp>
#include <string>

#include "checkpoint/onnx_messages.h"

namespace salient::runner::ort {

namespace messages = checkpoint::onnx_messages;
using protozero::pbf_writer;

namespace {

constexpr const char* kShape = "shape";
constexpr const char* kZero = "zero";
constexpr const char* kZeros = "zeros";
constexpr const char* kWhat = "keys and values are made zero";

/// An input or output of this many sizes, which the graph does not know.
void add_value(pbf_writer& graph, const messages::Field& field, const char* name, ElementType type,
               std::span<const int64_t> shape) {
  pbf_writer value(graph, field.number);
  value.add_string(messages::ValueInfo::kName.number, name);
  pbf_writer type_message(value, messages::ValueInfo::kType.number);
  pbf_writer tensor(type_message, messages::Type::kTensor.number);
  tensor.add_int64(messages::TensorType::kElement.number, static_cast<int64_t>(type));
  pbf_writer shape_message(tensor, messages::TensorType::kShape.number);
  for (const int64_t size : shape) {
    pbf_writer dimension(shape_message, messages::Shape::kDimension.number);
    if (size >= 0) dimension.add_int64(messages::Dimension::kSize.number, size);
  }
}

/// An ONNX file of one node, zeros = Expand(0, shape).
std::string expanding_graph(ElementType type, size_t rank) {
  std::string model;
  pbf_writer writer(model);
  writer.add_int64(messages::Model::kIrVersion.number, 7);
  {
    pbf_writer graph(writer, messages::Model::kGraph.number);
    {
      pbf_writer node(graph, messages::Graph::kNode.number);
      node.add_string(messages::Node::kInput.number, kZero);
      node.add_string(messages::Node::kInput.number, kShape);
      node.add_string(messages::Node::kOutput.number, kZeros);
      node.add_string(messages::Node::kOpType.number, "Expand");
    }
    graph.add_string(messages::Graph::kName.number, kZeros);
    {
      pbf_writer zero(graph, messages::Graph::kInitializer.number);
      zero.add_int64(messages::Tensor::kDataType.number, static_cast<int64_t>(type));
      zero.add_string(messages::Tensor::kName.number, kZero);
      zero.add_bytes(messages::Tensor::kRawData.number, std::string(type == ElementType::kF16 ? 2 : 4, '\0'));
    }
    const int64_t sizes = static_cast<int64_t>(rank);
    add_value(graph, messages::Graph::kInput, kShape, ElementType::kI64, std::span(&sizes, 1));
    add_value(graph, messages::Graph::kOutput, kZeros, type, std::vector<int64_t>(rank, -1));
  }
  pbf_writer operators(writer, messages::Model::kOperatorSet.number);
  operators.add_int64(messages::OperatorSet::kVersion.number, 14);
  return model;
}

}  // namespace

DeviceZeros::DeviceZeros(const Library& library, const SessionOptions* options, ElementType type, size_t rank)
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
