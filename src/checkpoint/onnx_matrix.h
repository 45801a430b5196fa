#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "checkpoint/onnx_graph.h"

namespace salient::checkpoint {

/// Row n: `blocks` blocks of `block_size` codes, the first code in the low bits of a byte; the last block may have
/// more codes than there are columns. A scale a block, and a zero point: packed as the codes are, each row in whole
/// bytes; or a number of the scales' type; or, where there are none, `default_zero`.
struct OnnxBlocks {
  int bits = 4;
  int64_t block_size = 32;
  int64_t blocks = 0;
  bool is_signed = false;
  uint8_t default_zero = 8;
  bool float_activations = false;  ///< as Checkpoint has it
  OnnxTensor codes;
  OnnxTensor scales;
  std::vector<OnnxTensor> zeros;  ///< none or one
};

/// A dense tensor: [rows, columns], or [columns, rows] where it is transposed.
struct OnnxDense {
  OnnxTensor tensor;
  bool transposed = false;
};

/// The weights of a linear as MatMulNBits, GatherBlockQuantized or MatMul has them, or some of its rows: nothing is
/// copied until they are read. Layout of the quantized ones:
/// https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md, MatMulNBits.
struct OnnxMatrix {
  std::string name;  ///< of the node; errors use it
  int64_t out_features = 0;
  int64_t in_features = 0;
  std::variant<OnnxBlocks, OnnxDense> weights;
  int64_t stored_rows = 0;                 ///< of the whole tensor
  int64_t first_row = 0;                   ///< which of them is our first
  std::vector<int32_t> column_input = {};  ///< of quantized weights: as core::QuantizedTensor has it

  bool quantized() const { return std::holds_alternative<OnnxBlocks>(weights); }
  /// Rows [first, first + count). Throws invalid_input when there are fewer.
  OnnxMatrix rows(int64_t first, int64_t count) const;
  /// True when both are the same rows of the same bytes.
  bool same_as(const OnnxMatrix& other) const;
};

/// The weights of a com.microsoft.MatMulNBits node. Throws invalid_input or unsupported, beginning with `origin`.
OnnxMatrix read_matmul_nbits(const OnnxGraph& graph, const OnnxNode& node, const std::string& origin);

/// The table [out_features, in_features] of a com.microsoft.GatherBlockQuantized node, whose data is `codes`: U8 with
/// packed codes, or UINT4 or INT4. Throws as read_matmul_nbits does.
OnnxMatrix read_gather_block_quantized(const OnnxGraph& graph, const OnnxNode& node, const OnnxTensor& codes,
                                       int64_t in_features, const std::string& origin);

/// A dense matrix. Throws unsupported when the tensor has not two dimensions of F32, F16 or BF16 numbers.
OnnxMatrix make_dense_matrix(const OnnxTensor& tensor, bool transposed, const std::string& origin);

/// Adds the linear `prefix` of the checkpoint, whose rows are those of the parts one after the other.
/// Throws unsupported when the parts do not fit together.
void add_matrix(Checkpoint& checkpoint, const std::string& prefix, const std::vector<OnnxMatrix>& parts);

/// The integer attribute of a node, checked: throws invalid_input, naming node and attribute, when it is missing and
/// there is no `otherwise`, or not in [least, most].
int64_t integer_attribute(const OnnxNode& node, const std::string& name, int64_t least, int64_t most,
                          const std::string& origin, const int64_t* otherwise = nullptr);

}  // namespace salient::checkpoint
