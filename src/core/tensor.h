#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <variant>
#include <vector>

#include "core/dtype.h"
#include "core/quantized_tensor.h"

namespace salient::core {

/// A tensor where it lies, usually in a mapped file: nothing is copied, nothing is owned.
/// Row-major; the last axis is contiguous.
struct TensorView {
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
  std::span<const std::byte> bytes;
};

/// A dense matrix [out_features, in_features] that can be read as fp32 row by row, whatever its encoding.
/// It refers to its checkpoint's mapping and must not outlive it.
struct DenseMatrix {
  int64_t out_features = 0;
  int64_t in_features = 0;
  /// The plain dtype (F32, F16 or BF16) that holds every element exactly.
  DType dtype = DType::kF32;
  /// Writes rows [first, first + count) as fp32 into `out`, count * in_features values. Thread-safe.
  std::function<void(int64_t first, int64_t count, float* out)> read_rows;
};

/// The weights of one linear layer, y = W x + bias.
struct LinearWeights {
  std::variant<DenseMatrix, QuantizedMatrix> matrix;
  std::vector<float> bias;  ///< empty, or out_features values

  int64_t out_features() const;
  int64_t in_features() const;
  /// Outputs [first, first + count) as a linear of their own.
  LinearWeights rows(int64_t first, int64_t count) const;
  const QuantizedMatrix* quantized() const { return std::get_if<QuantizedMatrix>(&matrix); }
  /// Rows [first, first + count) of W as fp32, dequantized where need be.
  void read_rows(int64_t first, int64_t count, float* out) const;
};

}  // namespace salient::core
