#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/onnx_messages.h"
#include "core/dtype.h"
#include "core/mapped_file.h"

namespace salient::checkpoint {

using OnnxElementType = onnx_messages::ElementType;

/// A tensor of an ONNX file where it lies: in the file itself or in the one that external_data names.
struct OnnxTensor {
  std::string name;
  OnnxElementType type = OnnxElementType::kFloat;
  std::vector<int64_t> shape;
  std::span<const std::byte> bytes;  ///< little-endian, row-major; two 4-bit numbers a byte, the first in the low half
  std::shared_ptr<const core::MappedFile> file;  ///< keeps `bytes` alive

  int64_t elements() const;
  /// The dtype of the elements; nothing for the 4-bit ones.
  std::optional<core::DType> dtype() const;
};

struct OnnxGraph;

/// The value of an attribute; the others are empty.
struct OnnxAttribute {
  int64_t integer = 0;
  float number = 0;
  std::string text;
  std::vector<int64_t> integers;
  std::shared_ptr<const OnnxTensor> tensor;
  std::shared_ptr<const OnnxGraph> graph;
};

struct OnnxNode {
  std::string name;
  std::string op;  ///< with its domain where that is not ONNX's own: "MatMul", "com.microsoft.MatMulNBits"
  std::vector<std::string> inputs;  ///< an empty name: the input is left out
  std::vector<std::string> outputs;
  std::map<std::string, OnnxAttribute> attributes;

  /// The name of an input; empty where the node has none there.
  const std::string& input(size_t index) const;
};

/// Nodes and the values between them. Every input of a node is the output of a node, an initializer or an input of the
/// graph or of one around it; no value is made twice, and no node needs itself.
struct OnnxGraph {
  std::vector<OnnxNode> nodes;
  std::map<std::string, OnnxTensor> initializers;
  std::set<std::string> inputs;
  std::vector<std::string> outputs;
};

struct OnnxModel {
  std::filesystem::path path;
  std::string producer;
  std::map<std::string, std::string> metadata;
  OnnxGraph graph;
};

/// `folder` / `name`. Throws invalid_input, beginning with `origin`, for a name that leads out of the folder.
std::filesystem::path path_inside(const std::filesystem::path& folder, const std::string& name,
                                  const std::string& origin);

/// Maps and parses an ONNX file; files with external data are mapped too, nothing big is copied. Every size and offset
/// is checked against its file. Throws not_found, invalid_input or unsupported, naming file and field.
/// Format: https://github.com/onnx/onnx/blob/main/docs/IR.md and ExternalData.md.
OnnxModel read_onnx(const std::filesystem::path& path);

}  // namespace salient::checkpoint
