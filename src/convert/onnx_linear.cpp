#include "convert/onnx_linear.h"

#include <algorithm>

#include "checkpoint/packed_parts.h"
#include "convert/onnx_numbers.h"
#include "core/error.h"

namespace salient::convert {

using core::ErrorKind;
using core::fail;
using core::QuantizedTensor;

namespace {

constexpr int kSmallestBlock = 16;

/// What the source calls the linear of a path.
std::string source_name(const std::string& path) {
  std::string name = tensor_prefix(path);
  if (const size_t found = name.find(".attn."); found != std::string::npos) name.insert(found + 1, "self_");
  return name;
}

/// Packs rows of numbers of 4 or 8 bits, the first in the low bits, each row in whole bytes.
std::vector<std::byte> pack_rows(const std::vector<uint8_t>& numbers, int64_t rows, int bits) {
  const int64_t columns = std::ssize(numbers) / rows;
  const int64_t row_bytes = (columns * bits + 7) / 8;
  std::vector<std::byte> packed(static_cast<size_t>(rows * row_bytes));
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t column = 0; column < columns; ++column) {
      const int64_t bit = column * bits;
      packed[row * row_bytes + bit / 8] |= static_cast<std::byte>(numbers[row * columns + column] << (bit % 8));
    }
  }
  return packed;
}

std::string add_scales(OnnxModelWriter& model, const OnnxLinearSettings& settings, const std::string& name,
                       const QuantizedTensor& weights, const std::string& tensor) {
  const int64_t groups = weights.groups();
  if (settings.numbers == ElementType::kFloat16) {
    for (int64_t i = 0; i < std::ssize(weights.scales); ++i) {
      checkpoint::exact_half(weights, i / groups, i % groups, tensor);
    }
  }
  return model.add_tensor(name, settings.numbers, {weights.out_features, groups},
                          encode_numbers(weights.scales, settings.numbers, "tensor " + tensor));
}

/// The inputs of a linear in another order.
std::string reorder(OnnxModelWriter& model, const std::string& path, const std::string& input,
                    const std::vector<int64_t>& order) {
  if (order.empty()) return input;
  const std::string name = model.add_tensor(tensor_prefix(path) + ".input_order", ElementType::kInt64,
                                            {std::ssize(order)}, std::as_bytes(std::span(order)));
  const std::string output = path + "/Gather/output_0";
  model.graph().add_node({"Gather", path + "/Gather", {input, name}, {output}, {{"axis", int64_t{-1}}}});
  return output;
}

OnnxNewNode make_matmul_nbits(OnnxModelWriter& model, const OnnxLinearSettings& settings, const std::string& path,
                              const std::string& input, const QuantizedTensor& quantized) {
  const std::string tensor = tensor_prefix(path);
  const MatMulNBitsWeights packed = pack_matmul_nbits(quantized, source_name(path));
  const QuantizedTensor& weights = packed.weights;
  const int64_t rows = weights.out_features;
  const std::string prefix = tensor + ".MatMulNBits.";
  const std::string ordered = reorder(model, path, input, packed.input_order);
  OnnxNewNode node{"com.microsoft.MatMulNBits", path + "/MatMulNBits", {ordered}, {path + "/MatMulNBits/output_0"}};
  node.inputs.push_back(model.add_tensor(prefix + "qweight", ElementType::kUint8,
                                         {rows, weights.groups(), int64_t{weights.group_size} * weights.bits / 8},
                                         packed.codes));
  node.inputs.push_back(add_scales(model, settings, prefix + "scales", weights, source_name(path)));
  if (!packed.zeros.empty()) {
    node.inputs.push_back(model.add_tensor(prefix + "qzeros", ElementType::kUint8,
                                           {rows, std::ssize(packed.zeros) / rows}, packed.zeros));
  }
  node.attributes = {{"K", weights.in_features},
                     {"N", rows},
                     {"bits", int64_t{weights.bits}},
                     {"block_size", int64_t{weights.group_size}}};
  if (settings.accuracy_level != 0) node.attributes.emplace("accuracy_level", int64_t{settings.accuracy_level});
  return node;
}

OnnxNewNode make_matmul(OnnxModelWriter& model, const OnnxLinearSettings& settings, const std::string& path,
                        const std::string& input, const core::LinearWeights& weights) {
  const std::string name =
      add_transposed(model, tensor_prefix(path) + ".MatMul.weight", weights, settings.numbers, "tensor ");
  return {"MatMul", path + "/MatMul", {input, name}, {path + "/MatMul/output_0"}};
}

bool fit_together(const QuantizedTensor& a, const QuantizedTensor& b) {
  return a.bits == b.bits && a.group_size == b.group_size && a.column_input == b.column_input &&
         a.offsets.empty() == b.offsets.empty();
}

/// Rows of several dense matrices, one after the other.
core::DenseMatrix join_dense(std::vector<core::DenseMatrix> parts) {
  core::DenseMatrix whole{0, parts[0].in_features, core::DType::kF32, {}};
  for (const core::DenseMatrix& part : parts) whole.out_features += part.out_features;
  whole.read_rows = [parts = std::move(parts)](int64_t first, int64_t count, float* out) {
    int64_t offset = 0;
    for (const core::DenseMatrix& part : parts) {
      const int64_t begin = std::max(first, offset);
      const int64_t end = std::min(first + count, offset + part.out_features);
      if (begin < end) part.read_rows(begin - offset, end - begin, out + (begin - first) * part.in_features);
      offset += part.out_features;
    }
  };
  return whole;
}

}  // namespace

LinearFormat matmul_nbits_format(const QuantizedTensor& weights, ElementType numbers, const std::string& name) {
  const int largest = weights.group_size & -weights.group_size;
  if (largest < kSmallestBlock) {
    fail(ErrorKind::kUnsupported,
         "tensor {}: groups of {} cannot be divided into the blocks of MatMulNBits, powers of two from {} on", name,
         weights.group_size, kSmallestBlock);
  }
  return {.bits = weights.bits,
          .group_size = largest,
          .zeros = ZeroKind::kInteger,
          .half_scales = numbers == ElementType::kFloat16,
          .input_order = true};
}

MatMulNBitsWeights pack_matmul_nbits(QuantizedTensor weights, const std::string& name) {
  MatMulNBitsWeights packed;
  packed.input_order.assign(weights.column_input.begin(), weights.column_input.end());
  weights.column_input.clear();
  checkpoint::check_packable(weights, name, "MatMulNBits");
  packed.codes = pack_rows(weights.codes, weights.out_features, weights.bits);
  if (!checkpoint::is_symmetric(weights)) packed.zeros = pack_rows(weights.zeros, weights.out_features, weights.bits);
  packed.weights = std::move(weights);
  return packed;
}

std::optional<core::LinearWeights> join_linears(std::span<const core::LinearWeights* const> parts) {
  core::LinearWeights whole;
  std::vector<core::DenseMatrix> dense;
  std::vector<QuantizedTensor> quantized;
  bool has_bias = false;
  for (const core::LinearWeights* part : parts) {
    if (const auto* matrix = part->quantized()) {
      quantized.push_back(matrix->read());
      if (!fit_together(quantized.front(), quantized.back())) return std::nullopt;
    } else {
      dense.push_back(std::get<core::DenseMatrix>(part->matrix));
    }
    has_bias |= !part->bias.empty();
  }
  if (!quantized.empty() && !dense.empty()) return std::nullopt;
  if (dense.empty()) {
    for (size_t i = 1; i < quantized.size(); ++i) quantized.front().append_rows(quantized[i]);
    whole.matrix = core::hold(std::move(quantized.front()));
  } else {
    whole.matrix = join_dense(std::move(dense));
  }
  for (const core::LinearWeights* part : parts) {
    if (!has_bias) break;
    whole.bias.insert(whole.bias.end(), part->bias.begin(), part->bias.end());
    if (part->bias.empty()) whole.bias.resize(whole.bias.size() + static_cast<size_t>(part->out_features()));
  }
  return whole;
}

std::string tensor_prefix(const std::string& path) {
  std::string prefix = path.substr(1);
  std::replace(prefix.begin(), prefix.end(), '/', '.');
  return prefix;
}

std::string add_linear(OnnxModelWriter& model, const OnnxLinearSettings& settings, const std::string& path,
                       const std::string& input, const core::LinearWeights& weights, const std::string& output) {
  try {
    const core::QuantizedMatrix* quantized = weights.quantized();
    OnnxNewNode node = quantized ? make_matmul_nbits(model, settings, path, input, quantized->read())
                                 : make_matmul(model, settings, path, input, weights);
    if (weights.bias.empty() && !output.empty()) node.outputs = {output};
    model.graph().add_node(node);
    if (weights.bias.empty()) return node.outputs[0];
    const std::string bias =
        add_vector(model, tensor_prefix(path) + ".Add.bias", weights.bias, settings.numbers, "tensor ");
    const std::string sum = output.empty() ? path + "/Add/output_0" : output;
    model.graph().add_node({"Add", path + "/Add", {node.outputs[0], bias}, {sum}});
    return sum;
  } catch (const core::Error& error) {
    if (error.kind() != ErrorKind::kUnsupported) throw;
    fail(error.kind(), "{}: {}", settings.origin, error.what());
  }
}

}  // namespace salient::convert
