#pragma once

#include <cstdint>

/// The fields of ONNX's messages that are read or written, from https://github.com/onnx/onnx/blob/main/onnx/onnx.proto:
/// a message is a struct, a field its number and the name that errors call it.
namespace salient::checkpoint::onnx_messages {

struct Field {
  uint32_t number;
  const char* name;
};

struct Model {
  static constexpr Field kIrVersion{1, "ir_version"};
  static constexpr Field kProducer{2, "producer_name"};
  static constexpr Field kGraph{7, "graph"};
  static constexpr Field kOperatorSet{8, "opset_import"};
  static constexpr Field kMetadata{14, "metadata_props"};
};

struct OperatorSet {
  static constexpr Field kDomain{1, "domain"};
  static constexpr Field kVersion{2, "version"};
};

struct Graph {
  static constexpr Field kNode{1, "node"};
  static constexpr Field kName{2, "name"};
  static constexpr Field kInitializer{5, "initializer"};
  static constexpr Field kInput{11, "input"};
  static constexpr Field kOutput{12, "output"};
  static constexpr Field kSparseInitializer{15, "sparse_initializer"};
};

/// Of the inputs and outputs of a graph only the name is read.
struct ValueInfo {
  static constexpr Field kName{1, "name"};
  static constexpr Field kType{2, "type"};
};

struct Type {
  static constexpr Field kTensor{1, "tensor_type"};
};

struct TensorType {
  static constexpr Field kElement{1, "elem_type"};
  static constexpr Field kShape{2, "shape"};
};

struct Shape {
  static constexpr Field kDimension{1, "dim"};
};

struct Dimension {
  static constexpr Field kSize{1, "dim_value"};
  static constexpr Field kName{2, "dim_param"};
};

struct Node {
  static constexpr Field kInput{1, "input"};
  static constexpr Field kOutput{2, "output"};
  static constexpr Field kName{3, "name"};
  static constexpr Field kOpType{4, "op_type"};
  static constexpr Field kAttribute{5, "attribute"};
  static constexpr Field kDomain{7, "domain"};
};

struct Attribute {
  static constexpr Field kName{1, "name"};
  static constexpr Field kNumber{2, "f"};
  static constexpr Field kInteger{3, "i"};
  static constexpr Field kText{4, "s"};
  static constexpr Field kTensor{5, "t"};
  static constexpr Field kGraph{6, "g"};
  static constexpr Field kIntegers{8, "ints"};
  static constexpr Field kType{20, "type"};
};

/// AttributeProto.AttributeType.
enum class AttributeType : int64_t {
  kNumber = 1,
  kInteger = 2,
  kTensor = 4,
  kGraph = 5,
};

struct Tensor {
  static constexpr Field kDims{1, "dims"};
  static constexpr Field kDataType{2, "data_type"};
  static constexpr Field kFloatData{4, "float_data"};
  static constexpr Field kInt32Data{5, "int32_data"};
  static constexpr Field kInt64Data{7, "int64_data"};
  static constexpr Field kName{8, "name"};
  static constexpr Field kRawData{9, "raw_data"};
  static constexpr Field kExternalData{13, "external_data"};
  static constexpr Field kDataLocation{14, "data_location"};
};

struct StringStringEntry {
  static constexpr Field kKey{1, "key"};
  static constexpr Field kValue{2, "value"};
};

/// TensorProto.DataType.
enum class ElementType : int64_t {
  kFloat = 1,
  kUint8 = 2,
  kInt8 = 3,
  kInt32 = 6,
  kInt64 = 7,
  kBool = 9,
  kFloat16 = 10,
  kDouble = 11,
  kBfloat16 = 16,
  kUint4 = 21,
  kInt4 = 22,
};

/// TensorProto.DataLocation.
inline constexpr int64_t kExternal = 1;

}  // namespace salient::checkpoint::onnx_messages
