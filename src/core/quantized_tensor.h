#pragma once

#include <cstdint>
#include <vector>

namespace salient::core {

/// The canonical affine matrix every int4 and int8 format is read into: [out_features, in_features] codes in
/// groups of `group_size` consecutive inputs of a row, each group with one scale and one integer zero point:
/// w = (code - zero) * scale.
struct QuantizedTensor {
  int64_t out_features = 0;
  int64_t in_features = 0;
  int bits = 4;
  int group_size = 128;
  std::vector<uint8_t> codes;  ///< out_features * in_features, one code a byte, row-major
  std::vector<float> scales;   ///< out_features * groups, row-major; any sign
  std::vector<uint8_t> zeros;  ///< out_features * groups, row-major

  int64_t groups() const { return in_features / group_size; }
  /// Writes the fp32 values of rows [first, first + count) into `out`, count * in_features values.
  void dequantize_rows(int64_t first, int64_t count, float* out) const;
};

}  // namespace salient::core
