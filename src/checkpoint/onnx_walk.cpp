#include "checkpoint/onnx_walk.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "core/error.h"

namespace salient::checkpoint {

using core::DType;
using core::ErrorKind;
using core::fail;

namespace {

bool casts_to_float(const OnnxNode& node) {
  const auto found = node.attributes.find("to");
  if (node.op != "Cast" || found == node.attributes.end()) return false;
  const auto to = static_cast<OnnxElementType>(found->second.integer);
  return to == OnnxElementType::kFloat || to == OnnxElementType::kFloat16 || to == OnnxElementType::kBfloat16;
}

/// True for a FusedMatMul whose only change to MatMul is that the weights are not transposed.
bool multiplies_by_rows(const OnnxNode& node) {
  bool rows = false;
  for (const auto& [name, value] : node.attributes) {
    if (name == "transB" && value.integer == 1) {
      rows = true;
    } else if (!(name == "alpha" && value.number == 1) && (value.integer != 0 || value.number != 0)) {
      return false;
    }
  }
  return rows;
}

}  // namespace

OnnxLinear OnnxLinear::rows(int64_t first, int64_t count) const {
  OnnxLinear part{matrix.rows(first, count), bias, input};
  if (part.bias) part.bias = OnnxVector{bias->tensor, bias->first + first, count};
  return part;
}

OnnxWalk::OnnxWalk(const OnnxModel& model) : model_(model) {
  for (const OnnxNode& node : model.graph.nodes) {
    for (const std::string& output : node.outputs) makers_.emplace(output, &node);
  }
}

std::string OnnxWalk::origin(const OnnxNode& node) const {
  return fmt::format("{}: node {} ({})", model_.path.string(), node.name, node.op);
}

void OnnxWalk::refuse(const OnnxNode& node, const std::string& why) const {
  fail(ErrorKind::kUnsupported, "{}: {}", origin(node), why);
}

std::string OnnxWalk::plain(const std::string& value) {
  std::string found = value;
  for (auto maker = makers_.find(found); maker != makers_.end() && casts_to_float(*maker->second);
       maker = makers_.find(found)) {
    understand(*maker->second);
    found = maker->second->input(0);
  }
  return found;
}

const OnnxNode* OnnxWalk::maker(const std::string& value) {
  if (value.empty()) return nullptr;
  const auto found = makers_.find(plain(value));
  return found == makers_.end() ? nullptr : found->second;
}

const OnnxNode* OnnxWalk::maker(const std::string& value, const std::string& op) {
  const OnnxNode* node = maker(value);
  if (!node || node->op != op) return nullptr;
  understand(*node);
  return node;
}

void OnnxWalk::understand_all_before(const std::string& value, const std::set<std::string>& ops,
                                     const std::set<std::string>& inputs) {
  std::vector<std::string> open = {value};
  std::set<std::string> seen;
  while (!open.empty()) {
    const std::string next = std::move(open.back());
    open.pop_back();
    if (next.empty() || !seen.insert(next).second || constant(next)) continue;
    const OnnxNode* node = maker(next);
    if (!node) {
      if (inputs.contains(next)) continue;
      fail(ErrorKind::kUnsupported, "{}: {} is made from the input {}, expected {}", origin(), value, next,
           fmt::join(inputs, " or "));
    }
    if (!ops.contains(node->op)) refuse(*node, "is not expected before " + value);
    understand(*node);
    open.insert(open.end(), node->inputs.begin(), node->inputs.end());
  }
}

const OnnxTensor* OnnxWalk::constant(const std::string& value) {
  const std::string name = plain(value);
  if (const auto found = graph().initializers.find(name); found != graph().initializers.end()) return &found->second;
  const auto made = makers_.find(name);
  if (made == makers_.end() || made->second->op != "Constant") return nullptr;
  const auto attribute = made->second->attributes.find("value");
  return attribute == made->second->attributes.end() ? nullptr : attribute->second.tensor.get();
}

std::optional<double> OnnxWalk::constant_number(const std::string& value) {
  const OnnxTensor* tensor = constant(value);
  if (!tensor || tensor->elements() != 1) return std::nullopt;
  if (tensor->dtype() == DType::kF32) {
    float number;
    std::memcpy(&number, tensor->bytes.data(), sizeof number);
    return number;
  }
  if (tensor->dtype() == DType::kF16 || tensor->dtype() == DType::kBF16) {
    uint16_t bits;
    std::memcpy(&bits, tensor->bytes.data(), sizeof bits);
    return tensor->dtype() == DType::kF16 ? core::half_to_float(bits) : core::bfloat16_to_float(bits);
  }
  const auto integers = constant_integers(value);
  if (!integers) return std::nullopt;
  return static_cast<double>(integers->front());
}

std::optional<std::vector<int64_t>> OnnxWalk::constant_integers(const std::string& value) {
  const OnnxTensor* tensor = constant(value);
  if (!tensor || (tensor->dtype() != DType::kI64 && tensor->dtype() != DType::kI32)) return std::nullopt;
  const bool wide = tensor->dtype() == DType::kI64;
  std::vector<int64_t> integers;
  for (int64_t i = 0; i < tensor->elements(); ++i) {
    int64_t number = 0;
    int32_t narrow = 0;
    if (wide) {
      std::memcpy(&number, tensor->bytes.data() + i * 8, sizeof number);
    } else {
      std::memcpy(&narrow, tensor->bytes.data() + i * 4, sizeof narrow);
    }
    integers.push_back(wide ? number : narrow);
  }
  return integers;
}

OnnxLinear OnnxWalk::linear_at(const std::string& value, int depth) {
  constexpr int kDeepest = 3;  // a split of a sum of a linear
  const OnnxNode* node = maker(value);
  if (!node) fail(ErrorKind::kUnsupported, "{}: the value {} is expected to be made by a linear", origin(), value);
  if (depth > kDeepest) refuse(*node, "is one of too many between a linear and its use");
  understand(*node);
  if (node->op == "Split") return split_part(*node, plain(value), depth);
  if (node->op != "Add") return linear_of(*node, plain(value));
  const size_t bias_input = constant(node->input(1)) ? 1 : 0;
  const OnnxTensor* bias = constant(node->input(bias_input));
  if (!bias) refuse(*node, "is expected to add a bias");
  OnnxLinear found = linear_at(node->input(1 - bias_input), depth + 1);
  if (found.bias || bias->elements() != found.matrix.out_features || bias->shape.back() != bias->elements()) {
    refuse(*node, fmt::format("adds {} [{}] to {} outputs, expected one bias a linear", bias->name,
                              fmt::join(bias->shape, ", "), found.matrix.out_features));
  }
  found.bias = OnnxVector{*bias, 0, bias->elements()};
  return found;
}

OnnxLinear OnnxWalk::linear_of(const OnnxNode& node, const std::string& value) {
  OnnxLinear found;
  found.input = plain(node.input(0));
  if (node.op == kMicrosoft + "MatMulNBits") {
    found.matrix = read_matmul_nbits(graph(), node, origin(node));
    if (const std::string& name = node.input(5); !name.empty()) {
      const OnnxTensor* bias = constant(name);
      if (!bias || bias->elements() != found.matrix.out_features) refuse(node, "has a bias of another size than N");
      found.bias = OnnxVector{*bias, 0, bias->elements()};
    }
    take_input_order(found);
    return found;
  }
  const bool fused = node.op == kMicrosoft + "FusedMatMul";
  if (node.op != "MatMul" && !fused) refuse(node, fmt::format("makes {}, where a linear is expected", value));
  const OnnxTensor* weights = constant(node.input(1));
  if (!weights) refuse(node, fmt::format("multiplies by {}, which is no initializer", node.input(1)));
  if (fused && !multiplies_by_rows(node)) refuse(node, "does more than multiply by the rows of its weights");
  found.matrix = make_dense_matrix(*weights, /*transposed=*/!fused, origin(node));
  return found;
}

/// The inputs of a linear may have been put in another order: act-order.
void OnnxWalk::take_input_order(OnnxLinear& linear) {
  const OnnxNode* gather = maker(linear.input);
  if (!gather || gather->op != "Gather" || constant(gather->input(0))) return;
  const auto axis = gather->attributes.find("axis");
  const auto order = constant_integers(gather->input(1));
  const int64_t inputs = linear.matrix.in_features;
  if (axis == gather->attributes.end() || axis->second.integer != -1 || !order || std::ssize(*order) != inputs) return;
  std::vector<bool> seen(static_cast<size_t>(inputs));
  for (const int64_t input : *order) {
    if (input < 0 || input >= inputs || seen[input]) {
      refuse(*gather, fmt::format("is expected to put {} inputs in another order", inputs));
    }
    seen[input] = true;
  }
  understand(*gather);
  linear.matrix.column_input.assign(order->begin(), order->end());
  linear.input = plain(gather->input(0));
}

OnnxLinear OnnxWalk::split_part(const OnnxNode& node, const std::string& value, int depth) {
  const OnnxLinear whole = linear_at(node.input(0), depth + 1);
  const int64_t rows = whole.matrix.out_features;
  const auto axis = node.attributes.find("axis");
  if (axis == node.attributes.end() || (axis->second.integer != -1 && axis->second.integer != 2)) {
    refuse(node, "splits along another axis than the last");
  }
  std::vector<int64_t> sizes(node.outputs.size(), rows / std::ssize(node.outputs));
  if (!node.input(1).empty()) sizes = constant_integers(node.input(1)).value_or(std::vector<int64_t>());
  int64_t total = 0;
  for (const int64_t size : sizes) {
    if (size < 1 || size > rows - total) refuse(node, fmt::format("does not split {} outputs evenly", rows));
    total += size;
  }
  if (sizes.size() != node.outputs.size() || total != rows) {
    refuse(node, fmt::format("does not split all of {} outputs", rows));
  }
  const auto part = std::find(node.outputs.begin(), node.outputs.end(), value) - node.outputs.begin();
  int64_t first = 0;
  for (int64_t i = 0; i < part; ++i) first += sizes[i];
  return whole.rows(first, sizes[part]);
}

void OnnxWalk::refuse_what_was_not_understood() const {
  for (const OnnxNode& node : graph().nodes) {
    if (node.op != "Constant" && !understood_.contains(&node)) refuse(node, "is not understood");
  }
}

}  // namespace salient::checkpoint
