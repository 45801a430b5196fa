#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <variant>
#include <vector>

#include "checkpoint/onnx_messages.h"

namespace salient::convert {

using checkpoint::onnx_messages::ElementType;

/// A small tensor that lies in the model file itself: little-endian, row-major.
struct OnnxConstant {
  ElementType type = ElementType::kInt64;
  std::vector<int64_t> shape;  ///< of no dimensions: a single number
  std::string bytes;
};

/// Of whole numbers, as int64 or int32.
OnnxConstant make_constant(std::vector<int64_t> shape, const std::vector<int64_t>& values,
                           ElementType type = ElementType::kInt64);

/// A graph inside an attribute, as a message.
struct OnnxSubgraph {
  std::string message;
};

using OnnxAttributeValue = std::variant<int64_t, float, OnnxConstant, OnnxSubgraph>;

/// A node to be written.
struct OnnxNewNode {
  std::string op;  ///< with its domain where that is not ONNX's own: "com.microsoft.MatMulNBits"
  std::string name;
  std::vector<std::string> inputs = {};  ///< an empty name: the input is left out
  std::vector<std::string> outputs = {};
  std::map<std::string, OnnxAttributeValue> attributes = {};
};

/// A size, or the name of one that is not known until the graph runs.
using OnnxDimension = std::variant<int64_t, std::string>;

/// Where a tensor lies in a file beside the model file.
struct OnnxExternalData {
  std::string location;
  uint64_t offset = 0;
  uint64_t length = 0;
};

/// Builds the message of a graph, GraphProto of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto.
class OnnxGraphMessage {
 public:
  void add_node(const OnnxNewNode& node);
  /// A Constant node that makes the value `output`.
  void add_constant(const std::string& output, const OnnxConstant& constant);
  void add_initializer(const std::string& name, ElementType type, const std::vector<int64_t>& shape,
                       const OnnxExternalData& data);
  void add_input(const std::string& name, ElementType type, const std::vector<OnnxDimension>& shape);
  void add_output(const std::string& name, ElementType type, const std::vector<OnnxDimension>& shape);
  /// The whole message of the graph under this name.
  std::string finish(const std::string& name);

 private:
  std::string message_;
};

}  // namespace salient::convert
