#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "convert/linear_fit.h"
#include "convert/onnx_model_writer.h"
#include "core/tensor.h"

namespace salient::convert {

/// What the linears of a graph have in common.
struct OnnxLinearSettings {
  ElementType numbers = ElementType::kFloat;  ///< of inputs, outputs, scales and dense weights
  int accuracy_level = 0;                     ///< of MatMulNBits: 0 is not written, 4 allows int8 activations
  std::string origin;                         ///< what errors begin with
};

/// The inputs of MatMulNBits besides its scales, as
/// https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md describes them.
struct MatMulNBitsWeights {
  core::QuantizedTensor weights;     ///< with groups that the operator takes and integer zero points
  std::vector<std::byte> codes;      ///< [rows, groups, group_size * bits / 8], the first code in the low bits
  std::vector<std::byte> zeros;      ///< [rows, whole bytes]; empty where every zero point is 2^(bits - 1)
  std::vector<int64_t> input_order;  ///< the input that each column reads; empty: column i reads input i
};

/// The form of a linear that MatMulNBits holds: its bits, groups of the largest power of two that divides its own,
/// integer zero points. Throws unsupported, naming the tensor, for groups that no power of two from 16 on divides.
LinearFormat matmul_nbits_format(const core::QuantizedTensor& weights, ElementType numbers, const std::string& name);

/// Packs a linear of that form, no value changed. Throws unsupported, naming the tensor, for another.
MatMulNBitsWeights pack_matmul_nbits(core::QuantizedTensor weights, const std::string& name);

/// Linears of one input as one linear, whose rows are theirs one after the other; nothing where they are quantized in
/// different ways.
std::optional<core::LinearWeights> join_linears(std::span<const core::LinearWeights* const> parts);

/// "/model/layers.0/mlp/up_proj" is the node, "model.layers.0.mlp.up_proj" how its tensors begin.
std::string tensor_prefix(const std::string& path);

/// Adds the nodes of a linear: MatMulNBits or MatMul, and Add where there is a bias. Columns that read inputs in
/// another order (act-order) get them so by a Gather: the operator's own g_idx is wrong with zero points in ONNX
/// Runtime 1.32 on CPUs, and refused with 8 bits. Returns the name of the value they make, which is `output` where that
/// is given.
std::string add_linear(OnnxModelWriter& model, const OnnxLinearSettings& settings, const std::string& path,
                       const std::string& input, const core::LinearWeights& weights, const std::string& output = {});

}  // namespace salient::convert
