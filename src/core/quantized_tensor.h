#pragma once

#include <cstdint>
#include <functional>
#include <vector>

namespace salient::core {

/// The canonical affine matrix every int4 and int8 format is read into: [out_features, in_features] codes in
/// groups of `group_size` consecutive columns of a row, each group with one scale and either an integer zero point,
/// w = (code - zero) * scale, or an offset, w = code * scale + offset.
struct QuantizedTensor {
  int64_t out_features = 0;
  int64_t in_features = 0;
  int bits = 4;  ///< 4 or 8
  int group_size = 128;
  std::vector<uint8_t> codes;         ///< out_features * in_features, one code a byte, row-major
  std::vector<float> scales;          ///< out_features * groups, row-major; any sign
  std::vector<uint8_t> zeros;         ///< out_features * groups, row-major; empty where there are offsets
  std::vector<float> offsets;         ///< out_features * groups, row-major; empty where there are zero points
  std::vector<int32_t> column_input;  ///< the input that each column reads (act-order); empty: column i reads input i

  int64_t groups() const { return in_features / group_size; }
  /// Writes the fp32 values of rows [first, first + count) into `out`, count * in_features values in the order of
  /// inputs.
  void dequantize_rows(int64_t first, int64_t count, float* out) const;
  /// Rows [first, first + count) as a matrix of their own. All of them are copied.
  QuantizedTensor rows(int64_t first, int64_t count) const;
  /// Adds the rows of a matrix with the same columns, bits, groups and kind of zero.
  void append_rows(const QuantizedTensor& other);
  /// Divides every group into groups of `size`, which divides group_size. No value changes.
  void split_groups(int size);
};

/// A quantized matrix [out_features, in_features] whose rows are unpacked when they are asked for. It refers to its
/// checkpoint's mapping and must not outlive it.
struct QuantizedMatrix {
  int64_t out_features = 0;
  int64_t in_features = 0;
  int bits = 4;
  int group_size = 128;
  bool half_numbers = false;  ///< every scale and offset is an fp16 number
  /// Rows [first, first + count), all with these bits and groups and one order of columns. Thread-safe.
  std::function<QuantizedTensor(int64_t first, int64_t count)> read_rows = {};

  QuantizedTensor read() const { return read_rows(0, out_features); }
};

/// A matrix whose codes are in memory already.
QuantizedMatrix hold(QuantizedTensor weights);

}  // namespace salient::core
