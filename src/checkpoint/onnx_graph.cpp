#include "checkpoint/onnx_graph.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <protozero/pbf_reader.hpp>
#include <string_view>
#include <system_error>
#include <utility>

#include "checkpoint/onnx_wiring.h"
#include "core/error.h"

namespace salient::checkpoint {

using core::DType;
using core::ErrorKind;
using core::fail;
using onnx_messages::Field;
namespace fs = std::filesystem;
namespace messages = onnx_messages;

namespace {

constexpr int kDeepestGraph = 8;

struct ElementInfo {
  OnnxElementType type;
  int bits;
  std::optional<DType> dtype;
};

const ElementInfo* info_of(OnnxElementType type) {
  static constexpr std::array<ElementInfo, 11> kInfo = {{
      {OnnxElementType::kFloat, 32, DType::kF32},
      {OnnxElementType::kUint8, 8, DType::kU8},
      {OnnxElementType::kInt8, 8, DType::kI8},
      {OnnxElementType::kInt32, 32, DType::kI32},
      {OnnxElementType::kInt64, 64, DType::kI64},
      {OnnxElementType::kBool, 8, DType::kBool},
      {OnnxElementType::kFloat16, 16, DType::kF16},
      {OnnxElementType::kDouble, 64, DType::kF64},
      {OnnxElementType::kBfloat16, 16, DType::kBF16},
      {OnnxElementType::kUint4, 4, std::nullopt},
      {OnnxElementType::kInt4, 4, std::nullopt},
  }};
  const auto found =
      std::find_if(kInfo.begin(), kInfo.end(), [&](const ElementInfo& info) { return info.type == type; });
  return found == kInfo.end() ? nullptr : &*found;
}

/// A message read field by field. Unlike the reader beneath, it also checks that a field has the wire type it should,
/// and says where the file is broken.
class Message {
 public:
  Message(protozero::data_view bytes, std::string origin) : reader_(bytes), origin_(std::move(origin)) {}

  const std::string& origin() const { return origin_; }
  bool next() {
    try {
      return reader_.next();
    } catch (const protozero::exception&) {
      fail(ErrorKind::kInvalidInput, "{}: is cut off or not protobuf after field {}", origin_, reader_.tag());
    }
  }
  uint32_t field() const { return reader_.tag(); }
  void skip() {
    read({field(), "a field that is not read"}, reader_.wire_type(), [&] { reader_.skip(); });
  }
  protozero::data_view view(const Field& field) {
    protozero::data_view bytes;
    read(field, protozero::pbf_wire_type::length_delimited, [&] { bytes = reader_.get_view(); });
    return bytes;
  }
  std::string text(const Field& field) {
    const protozero::data_view bytes = view(field);
    return {bytes.data(), bytes.size()};
  }
  int64_t integer(const Field& field) {
    int64_t value = 0;
    read(field, protozero::pbf_wire_type::varint, [&] { value = reader_.get_int64(); });
    return value;
  }
  float number(const Field& field) {
    float value = 0;
    read(field, protozero::pbf_wire_type::fixed32, [&] { value = reader_.get_float(); });
    return value;
  }
  /// Adds what the field has, one number or many packed as one.
  void append_integers(const Field& field, std::vector<int64_t>& values) {
    if (reader_.wire_type() == protozero::pbf_wire_type::varint) return values.push_back(integer(field));
    read(field, protozero::pbf_wire_type::length_delimited, [&] {
      for (const int64_t value : reader_.get_packed_int64()) values.push_back(value);
    });
  }
  Message message(const Field& field, const std::string& which) {
    return {view(field), fmt::format("{}.{}", origin_, which)};
  }

 private:
  template <typename Read>
  void read(const Field& field, protozero::pbf_wire_type expected, Read read) {
    if (reader_.wire_type() != expected) {
      fail(ErrorKind::kInvalidInput, "{}: {} has wire type {}, expected {}", origin_, field.name,
           static_cast<int>(reader_.wire_type()), static_cast<int>(expected));
    }
    try {
      read();
    } catch (const protozero::exception&) {
      fail(ErrorKind::kInvalidInput, "{}: {} is cut off or not protobuf", origin_, field.name);
    }
  }

  protozero::pbf_reader reader_;
  std::string origin_;
};

/// What external_data says.
struct ExternalData {
  std::string location;
  uint64_t offset = 0;
  std::optional<uint64_t> length;
};

/// A tensor's fields before they have been checked against each other.
struct RawTensor {
  OnnxTensor tensor;
  int64_t data_type = 0;
  int64_t data_location = 0;
  ExternalData external;
  bool has_raw = false;
  protozero::data_view float_data;
  std::vector<int64_t> integers;  ///< int32_data or int64_data
};

/// Bytes of our own beside the file they were read from.
struct Converted {
  std::shared_ptr<const core::MappedFile> file;
  std::vector<std::byte> bytes;
};

class Parser {
 public:
  explicit Parser(const fs::path& path) : path_(path), file_(std::make_shared<const core::MappedFile>(path)) {}

  OnnxModel model() {
    OnnxModel model;
    model.path = path_;
    const auto bytes = file_->bytes();
    Message message({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, path_.string());
    bool has_graph = false;
    while (message.next()) {
      switch (message.field()) {
        case messages::Model::kProducer.number:
          model.producer = message.text(messages::Model::kProducer);
          break;
        case messages::Model::kMetadata.number:
          model.metadata.insert(entry(message));
          break;
        case messages::Model::kGraph.number: {
          if (has_graph) fail(ErrorKind::kInvalidInput, "{}: has two graphs", path_.string());
          has_graph = true;
          Message graph_message(message.view(messages::Model::kGraph), fmt::format("{}: graph", path_.string()));
          model.graph = graph(graph_message, 0);
          break;
        }
        default:
          message.skip();
      }
    }
    if (!has_graph) fail(ErrorKind::kInvalidInput, "{}: has no graph, so it is not an ONNX model", path_.string());
    return model;
  }

 private:
  std::pair<std::string, std::string> entry(Message& parent) {
    Message message = parent.message(messages::Model::kMetadata, "metadata_props");
    std::pair<std::string, std::string> result;
    while (message.next()) {
      switch (message.field()) {
        case messages::StringStringEntry::kKey.number:
          result.first = message.text(messages::StringStringEntry::kKey);
          break;
        case messages::StringStringEntry::kValue.number:
          result.second = message.text(messages::StringStringEntry::kValue);
          break;
        default:
          message.skip();
      }
    }
    return result;
  }

  std::string value_name(Message message) {
    std::string name;
    while (message.next()) {
      if (message.field() == messages::ValueInfo::kName.number) {
        name = message.text(messages::ValueInfo::kName);
      } else {
        message.skip();
      }
    }
    return name;
  }

  OnnxGraph graph(Message& message, int depth) {
    if (depth > kDeepestGraph) {
      fail(ErrorKind::kUnsupported, "{}: graphs are nested more than {} deep", path_.string(), kDeepestGraph);
    }
    OnnxGraph graph;
    while (message.next()) {
      switch (message.field()) {
        case messages::Graph::kNode.number: {
          Message part = message.message(messages::Graph::kNode, fmt::format("node[{}]", graph.nodes.size()));
          graph.nodes.push_back(node(part, depth));
          break;
        }
        case messages::Graph::kInitializer.number: {
          OnnxTensor found = tensor(message.message(messages::Graph::kInitializer,
                                                    fmt::format("initializer[{}]", graph.initializers.size())));
          const std::string name = found.name;
          if (!graph.initializers.emplace(name, std::move(found)).second) {
            fail(ErrorKind::kInvalidInput, "{}: has the initializer {} twice", message.origin(), name);
          }
          break;
        }
        case messages::Graph::kInput.number:
          graph.inputs.insert(value_name(message.message(messages::Graph::kInput, "input")));
          break;
        case messages::Graph::kOutput.number:
          graph.outputs.push_back(value_name(message.message(messages::Graph::kOutput, "output")));
          break;
        case messages::Graph::kSparseInitializer.number:
          fail(ErrorKind::kUnsupported, "{}: has a sparse_initializer, which is not supported", message.origin());
        default:
          message.skip();
      }
    }
    return graph;
  }

  OnnxNode node(Message& message, int depth) {
    OnnxNode node;
    std::string domain;
    while (message.next()) {
      switch (message.field()) {
        case messages::Node::kInput.number:
          node.inputs.push_back(message.text(messages::Node::kInput));
          break;
        case messages::Node::kOutput.number:
          node.outputs.push_back(message.text(messages::Node::kOutput));
          break;
        case messages::Node::kName.number:
          node.name = message.text(messages::Node::kName);
          break;
        case messages::Node::kOpType.number:
          node.op = message.text(messages::Node::kOpType);
          break;
        case messages::Node::kDomain.number:
          domain = message.text(messages::Node::kDomain);
          break;
        case messages::Node::kAttribute.number: {
          Message part =
              message.message(messages::Node::kAttribute, fmt::format("attribute[{}]", node.attributes.size()));
          auto found = attribute(part, depth);
          if (!node.attributes.insert(std::move(found)).second) {
            fail(ErrorKind::kInvalidInput, "{}: has an attribute twice", part.origin());
          }
          break;
        }
        default:
          message.skip();
      }
    }
    if (!domain.empty() && domain != "ai.onnx") node.op = domain + "." + node.op;
    return node;
  }

  std::pair<std::string, OnnxAttribute> attribute(Message& message, int depth) {
    std::string name;
    OnnxAttribute value;
    while (message.next()) {
      switch (message.field()) {
        case messages::Attribute::kName.number:
          name = message.text(messages::Attribute::kName);
          break;
        case messages::Attribute::kNumber.number:
          value.number = message.number(messages::Attribute::kNumber);
          break;
        case messages::Attribute::kInteger.number:
          value.integer = message.integer(messages::Attribute::kInteger);
          break;
        case messages::Attribute::kText.number:
          value.text = message.text(messages::Attribute::kText);
          break;
        case messages::Attribute::kIntegers.number:
          message.append_integers(messages::Attribute::kIntegers, value.integers);
          break;
        case messages::Attribute::kTensor.number:
          value.tensor = std::make_shared<const OnnxTensor>(tensor(message.message(messages::Attribute::kTensor, "t")));
          break;
        case messages::Attribute::kGraph.number: {
          Message part = message.message(messages::Attribute::kGraph, "g");
          value.graph = std::make_shared<const OnnxGraph>(graph(part, depth + 1));
          break;
        }
        default:
          message.skip();
      }
    }
    return {std::move(name), std::move(value)};
  }

  OnnxTensor tensor(Message message) {
    RawTensor raw;
    while (message.next()) {
      switch (message.field()) {
        case messages::Tensor::kName.number:
          raw.tensor.name = message.text(messages::Tensor::kName);
          break;
        case messages::Tensor::kDims.number:
          message.append_integers(messages::Tensor::kDims, raw.tensor.shape);
          break;
        case messages::Tensor::kDataType.number:
          raw.data_type = message.integer(messages::Tensor::kDataType);
          break;
        case messages::Tensor::kDataLocation.number:
          raw.data_location = message.integer(messages::Tensor::kDataLocation);
          break;
        case messages::Tensor::kRawData.number: {
          const auto view = message.view(messages::Tensor::kRawData);
          raw.tensor.bytes = std::as_bytes(std::span(view.data(), view.size()));
          raw.has_raw = true;
          break;
        }
        case messages::Tensor::kFloatData.number:
          raw.float_data = message.view(messages::Tensor::kFloatData);
          break;
        case messages::Tensor::kInt32Data.number:
          message.append_integers(messages::Tensor::kInt32Data, raw.integers);
          break;
        case messages::Tensor::kInt64Data.number:
          message.append_integers(messages::Tensor::kInt64Data, raw.integers);
          break;
        case messages::Tensor::kExternalData.number:
          external_entry(message, raw.external);
          break;
        default:
          message.skip();
      }
    }
    const std::string origin =
        raw.tensor.name.empty() ? message.origin() : fmt::format("{}: tensor {}", path_.string(), raw.tensor.name);
    return finish(std::move(raw), origin);
  }

  void external_entry(Message& parent, ExternalData& external) {
    Message message = parent.message(messages::Tensor::kExternalData, "external_data");
    std::string key;
    std::string value;
    while (message.next()) {
      switch (message.field()) {
        case messages::StringStringEntry::kKey.number:
          key = message.text(messages::StringStringEntry::kKey);
          break;
        case messages::StringStringEntry::kValue.number:
          value = message.text(messages::StringStringEntry::kValue);
          break;
        default:
          message.skip();
      }
    }
    const auto number = [&] {
      uint64_t result = 0;
      const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), result);
      if (error != std::errc() || end != value.data() + value.size() || value.empty()) {
        fail(ErrorKind::kInvalidInput, "{}: {} is \"{}\", expected a whole number", message.origin(), key, value);
      }
      return result;
    };
    if (key == "location") external.location = value;
    if (key == "offset") external.offset = number();
    if (key == "length") external.length = number();
  }

  /// Finds the tensor's bytes, and checks that they are as many as type and shape ask for.
  OnnxTensor finish(RawTensor raw, const std::string& origin) {
    OnnxTensor& tensor = raw.tensor;
    tensor.type = static_cast<OnnxElementType>(raw.data_type);
    const ElementInfo* info = info_of(tensor.type);
    if (!info) fail(ErrorKind::kUnsupported, "{}: data_type {} is not supported", origin, raw.data_type);
    uint64_t bits = static_cast<uint64_t>(info->bits);
    for (const int64_t size : tensor.shape) {
      if (size < 0 || __builtin_mul_overflow(bits, static_cast<uint64_t>(size), &bits) || bits > uint64_t{1} << 62) {
        fail(ErrorKind::kInvalidInput, "{}: dims are [{}], which is no possible shape", origin,
             fmt::join(tensor.shape, ", "));
      }
    }
    const uint64_t expected = (bits + 7) / 8;
    tensor.file = file_;
    if (raw.data_location == messages::kExternal) {
      find_external(raw.external, expected, origin, tensor);
    } else if (!raw.has_raw) {
      convert(raw, *info, origin);
    }
    if (tensor.bytes.size() != expected) {
      fail(ErrorKind::kInvalidInput, "{}: has {} bytes of data, but its dims [{}] and data_type {} ask for {}", origin,
           tensor.bytes.size(), fmt::join(tensor.shape, ", "), raw.data_type, expected);
    }
    return std::move(tensor);
  }

  void find_external(const ExternalData& external, uint64_t expected, const std::string& origin, OnnxTensor& tensor) {
    if (external.location.empty()) {
      fail(ErrorKind::kInvalidInput, "{}: external_data has no location", origin);
    }
    const fs::path path =
        path_inside(path_.parent_path(), external.location, fmt::format("{}: external_data.location", origin));
    auto& file = external_[external.location];
    if (!file) {
      if (!fs::exists(path)) {
        fail(ErrorKind::kNotFound, "{}: is missing; external_data.location of {} names it", path.string(), origin);
      }
      file = std::make_shared<const core::MappedFile>(path);
    }
    const uint64_t length = external.length.value_or(expected);
    const uint64_t available = file->bytes().size();
    if (external.offset > available || length > available - external.offset) {
      fail(ErrorKind::kInvalidInput, "{}: external_data has offset {} and length {}, but {} has {} bytes", origin,
           external.offset, length, path.string(), available);
    }
    tensor.file = file;
    tensor.bytes = file->bytes().subspan(external.offset, length);
  }

  /// The typed fields: packed floats lie in the file as they are; numbers of variable length are written out.
  void convert(RawTensor& raw, const ElementInfo& info, const std::string& origin) {
    OnnxTensor& tensor = raw.tensor;
    if (tensor.type == OnnxElementType::kFloat) {
      tensor.bytes = std::as_bytes(std::span(raw.float_data.data(), raw.float_data.size()));
      return;
    }
    if (info.bits < 8 || tensor.type == OnnxElementType::kDouble) {
      fail(ErrorKind::kUnsupported, "{}: has data_type {} in typed fields, expected raw_data or external_data", origin,
           raw.data_type);
    }
    auto converted = std::make_shared<Converted>();
    converted->file = file_;
    const size_t size = static_cast<size_t>(info.bits) / 8;
    converted->bytes.resize(raw.integers.size() * size);
    for (size_t i = 0; i < raw.integers.size(); ++i) std::memcpy(&converted->bytes[i * size], &raw.integers[i], size);
    tensor.bytes = converted->bytes;
    tensor.file = {converted, converted->file.get()};
  }

  fs::path path_;
  std::shared_ptr<const core::MappedFile> file_;
  std::map<std::string, std::shared_ptr<const core::MappedFile>> external_;
};

}  // namespace

int64_t OnnxTensor::elements() const {
  int64_t count = 1;
  for (const int64_t size : shape) count *= size;
  return count;
}

std::optional<DType> OnnxTensor::dtype() const {
  return info_of(type)->dtype;
}

const std::string& OnnxNode::input(size_t index) const {
  static const std::string none;
  return index < inputs.size() ? inputs[index] : none;
}

fs::path path_inside(const fs::path& folder, const std::string& name, const std::string& origin) {
  const fs::path path(name);
  const bool leads_out = std::any_of(path.begin(), path.end(), [](const fs::path& part) { return part == ".."; });
  if (name.empty() || path.is_absolute() || path.has_root_path() || leads_out || name.find('\\') != std::string::npos ||
      name.find('\0') != std::string::npos) {
    fail(ErrorKind::kInvalidInput, "{} is \"{}\", expected the name of a file in the model's folder", origin, name);
  }
  return folder / path;
}

OnnxModel read_onnx(const fs::path& path) {
  OnnxModel model = Parser(path).model();
  check_wiring(model.graph, path.string());
  return model;
}

}  // namespace salient::checkpoint
