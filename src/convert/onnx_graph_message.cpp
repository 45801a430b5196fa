#include "convert/onnx_graph_message.h"

#include <fmt/format.h>

#include <protozero/pbf_writer.hpp>

namespace salient::convert {

using checkpoint::onnx_messages::AttributeType;
using checkpoint::onnx_messages::Field;
using protozero::pbf_writer;
namespace messages = checkpoint::onnx_messages;

namespace {

void add_shape(pbf_writer& tensor_type, const std::vector<OnnxDimension>& shape) {
  pbf_writer shape_message(tensor_type, messages::TensorType::kShape.number);
  for (const OnnxDimension& dimension : shape) {
    pbf_writer message(shape_message, messages::Shape::kDimension.number);
    if (const auto* size = std::get_if<int64_t>(&dimension)) {
      message.add_int64(messages::Dimension::kSize.number, *size);
    } else {
      message.add_string(messages::Dimension::kName.number, std::get<std::string>(dimension));
    }
  }
}

void add_value_info(std::string& graph, const Field& field, const std::string& name, ElementType type,
                    const std::vector<OnnxDimension>& shape) {
  pbf_writer writer(graph);
  pbf_writer info(writer, field.number);
  info.add_string(messages::ValueInfo::kName.number, name);
  pbf_writer type_message(info, messages::ValueInfo::kType.number);
  pbf_writer tensor_type(type_message, messages::Type::kTensor.number);
  tensor_type.add_int64(messages::TensorType::kElement.number, static_cast<int64_t>(type));
  add_shape(tensor_type, shape);
}

void add_type_and_shape(pbf_writer& tensor, ElementType type, const std::vector<int64_t>& shape) {
  for (const int64_t size : shape) tensor.add_int64(messages::Tensor::kDims.number, size);
  tensor.add_int64(messages::Tensor::kDataType.number, static_cast<int64_t>(type));
}

void add_attribute(pbf_writer& node, const std::string& name, const OnnxAttributeValue& value) {
  pbf_writer attribute(node, messages::Node::kAttribute.number);
  attribute.add_string(messages::Attribute::kName.number, name);
  AttributeType type = AttributeType::kInteger;
  if (const auto* integer = std::get_if<int64_t>(&value)) {
    attribute.add_int64(messages::Attribute::kInteger.number, *integer);
  } else if (const auto* number = std::get_if<float>(&value)) {
    type = AttributeType::kNumber;
    attribute.add_float(messages::Attribute::kNumber.number, *number);
  } else if (const auto* constant = std::get_if<OnnxConstant>(&value)) {
    type = AttributeType::kTensor;
    pbf_writer tensor(attribute, messages::Attribute::kTensor.number);
    add_type_and_shape(tensor, constant->type, constant->shape);
    tensor.add_bytes(messages::Tensor::kRawData.number, constant->bytes);
  } else {
    type = AttributeType::kGraph;
    attribute.add_message(messages::Attribute::kGraph.number, std::get<OnnxSubgraph>(value).message);
  }
  attribute.add_int64(messages::Attribute::kType.number, static_cast<int64_t>(type));
}

}  // namespace

OnnxConstant make_constant(std::vector<int64_t> shape, const std::vector<int64_t>& values, ElementType type) {
  const size_t size = type == ElementType::kInt32 ? sizeof(int32_t) : sizeof(int64_t);
  std::string bytes;
  // The first bytes of a little-endian int64 are the int32 of the same number.
  for (const int64_t value : values) bytes.append(reinterpret_cast<const char*>(&value), size);
  return {type, std::move(shape), bytes};
}

void OnnxGraphMessage::add_node(const OnnxNewNode& node) {
  const size_t dot = node.op.rfind('.');
  pbf_writer graph(message_);
  pbf_writer message(graph, messages::Graph::kNode.number);
  for (const std::string& input : node.inputs) message.add_string(messages::Node::kInput.number, input);
  for (const std::string& output : node.outputs) message.add_string(messages::Node::kOutput.number, output);
  message.add_string(messages::Node::kName.number, node.name);
  message.add_string(messages::Node::kOpType.number, dot == std::string::npos ? node.op : node.op.substr(dot + 1));
  for (const auto& [name, value] : node.attributes) add_attribute(message, name, value);
  if (dot != std::string::npos) message.add_string(messages::Node::kDomain.number, node.op.substr(0, dot));
}

void OnnxGraphMessage::add_constant(const std::string& output, const OnnxConstant& constant) {
  add_node({"Constant", output + "/Constant", {}, {output}, {{"value", constant}}});
}

void OnnxGraphMessage::add_initializer(const std::string& name, ElementType type, const std::vector<int64_t>& shape,
                                       const OnnxExternalData& data) {
  pbf_writer graph(message_);
  pbf_writer tensor(graph, messages::Graph::kInitializer.number);
  add_type_and_shape(tensor, type, shape);
  tensor.add_string(messages::Tensor::kName.number, name);
  const std::pair<const char*, std::string> entries[] = {
      {"location", data.location}, {"offset", fmt::to_string(data.offset)}, {"length", fmt::to_string(data.length)}};
  for (const auto& [key, value] : entries) {
    pbf_writer entry(tensor, messages::Tensor::kExternalData.number);
    entry.add_string(messages::StringStringEntry::kKey.number, key);
    entry.add_string(messages::StringStringEntry::kValue.number, value);
  }
  tensor.add_int64(messages::Tensor::kDataLocation.number, messages::kExternal);
}

void OnnxGraphMessage::add_input(const std::string& name, ElementType type, const std::vector<OnnxDimension>& shape) {
  add_value_info(message_, messages::Graph::kInput, name, type, shape);
}

void OnnxGraphMessage::add_output(const std::string& name, ElementType type, const std::vector<OnnxDimension>& shape) {
  add_value_info(message_, messages::Graph::kOutput, name, type, shape);
}

std::string OnnxGraphMessage::finish(const std::string& name) {
  pbf_writer(message_).add_string(messages::Graph::kName.number, name);
  return std::move(message_);
}

}  // namespace salient::convert
