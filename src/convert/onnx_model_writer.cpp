#include "convert/onnx_model_writer.h"

#include <protozero/pbf_writer.hpp>

#include "core/error.h"

namespace salient::convert {

namespace messages = checkpoint::onnx_messages;
using core::ErrorKind;
using core::fail;
using protozero::pbf_writer;

namespace {

// The oldest that has every operator we use: all versions of the generate() API read them.
constexpr int64_t kIrVersion = 7;
constexpr int64_t kOperatorSet = 14;
constexpr int64_t kMicrosoftOperatorSet = 1;

constexpr uint64_t kLargeTensor = uint64_t{1} << 20;
constexpr uint64_t kLargeAlignment = 4096;
constexpr uint64_t kAlignment = 64;
constexpr uint64_t kLargestGraph = (uint64_t{1} << 31) - 1024;  // of 2 GB, with what else a model file has

uint64_t element_bytes(ElementType type) {
  switch (type) {
    case ElementType::kInt64:
      return 8;
    case ElementType::kFloat:
      return 4;
    case ElementType::kFloat16:
      return 2;
    case ElementType::kUint8:
      return 1;
    default:
      fail(ErrorKind::kInternal, "no initializer has data_type {}", static_cast<int64_t>(type));
  }
}

std::filesystem::path data_path(std::filesystem::path model_path) {
  model_path += ".data";
  return model_path;
}

}  // namespace

OnnxModelWriter::OnnxModelWriter(const std::filesystem::path& model_path)
    : path_(model_path), data_(data_path(model_path)), data_name_(data_path(model_path).filename().string()) {}

void OnnxModelWriter::expect_tensor_is_whole() const {
  if (written_ == tensor_end_) return;
  fail(ErrorKind::kInternal, "{}: byte {} was written where a tensor ends at {}", data_name_, written_, tensor_end_);
}

void OnnxModelWriter::begin_tensor(const std::string& name, ElementType type, const std::vector<int64_t>& shape) {
  expect_tensor_is_whole();
  uint64_t length = element_bytes(type);
  for (const int64_t size : shape) length *= static_cast<uint64_t>(size);
  const uint64_t alignment = length > kLargeTensor ? kLargeAlignment : kAlignment;
  const uint64_t offset = (written_ + alignment - 1) / alignment * alignment;
  data_.write(std::vector<std::byte>(offset - written_));
  written_ = offset;
  tensor_end_ = offset + length;
  graph_.add_initializer(name, type, shape, {data_name_, offset, length});
}

void OnnxModelWriter::append(std::span<const std::byte> bytes) {
  data_.write(bytes);
  written_ += bytes.size();
}

std::string OnnxModelWriter::add_tensor(const std::string& name, ElementType type, const std::vector<int64_t>& shape,
                                        std::span<const std::byte> bytes) {
  begin_tensor(name, type, shape);
  append(bytes);
  return name;
}

std::string OnnxModelWriter::constant(const std::string& name, const OnnxConstant& constant) {
  if (constants_.insert(name).second) graph_.add_constant(name, constant);
  return name;
}

std::string OnnxModelWriter::integers(const std::vector<int64_t>& values, ElementType type) {
  const char* type_name = type == ElementType::kInt32 ? "INT32" : "INT64";
  return constant(fmt::format("/model/constants/{}/[{}]", type_name, fmt::join(values, ", ")),
                  make_constant({std::ssize(values)}, values, type));
}

std::string OnnxModelWriter::integer(int64_t value) {
  return constant(fmt::format("/model/constants/INT64/{}", value), make_constant({}, {value}));
}

void OnnxModelWriter::finish() {
  expect_tensor_is_whole();
  data_.commit();
  std::string model;
  pbf_writer writer(model);
  writer.add_int64(messages::Model::kIrVersion.number, kIrVersion);
  writer.add_string(messages::Model::kProducer.number, "salient");
  const std::pair<const char*, int64_t> operator_sets[] = {{"", kOperatorSet},
                                                           {"com.microsoft", kMicrosoftOperatorSet}};
  for (const auto& [domain, version] : operator_sets) {
    pbf_writer message(writer, messages::Model::kOperatorSet.number);
    message.add_string(messages::OperatorSet::kDomain.number, domain);
    message.add_int64(messages::OperatorSet::kVersion.number, version);
  }
  const std::string graph = graph_.finish("main_graph");
  if (graph.size() > kLargestGraph) {
    fail(ErrorKind::kUnsupported, "{}: the graph would have {} bytes, more than a protobuf file can",
         path_.filename().string(), graph.size());
  }
  writer.add_message(messages::Model::kGraph.number, graph);
  core::AtomicFile file(path_);
  file.write(model);
  file.commit();
}

}  // namespace salient::convert
