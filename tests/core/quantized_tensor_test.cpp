#include "core/quantized_tensor.h"

#include <gtest/gtest.h>

#include "core/tensor.h"

namespace salient::core {
namespace {

/// Two rows of two groups of two.
QuantizedTensor small_tensor() {
  QuantizedTensor tensor;
  tensor.out_features = 2;
  tensor.in_features = 4;
  tensor.group_size = 2;
  tensor.codes = {0, 15, 3, 4, 8, 7, 15, 0};
  tensor.scales = {0.5f, 2.0f, -1.0f, 0.25f};
  tensor.zeros = {8, 3, 7, 15};
  return tensor;
}

/// (code - zero) * scale of each, worked out by hand.
const std::vector<float> kValues = {-4.0f, 3.5f, 0.0f, 2.0f, -1.0f, 0.0f, 0.0f, -3.75f};

TEST(QuantizedTensor, DequantizesByCodeZeroAndScale) {
  const QuantizedTensor tensor = small_tensor();
  EXPECT_EQ(tensor.groups(), 2);
  std::vector<float> values(8);
  tensor.dequantize_rows(0, 2, values.data());
  EXPECT_EQ(values, kValues);
}

TEST(QuantizedTensor, DequantizesTheRowsAskedFor) {
  std::vector<float> values(5, 99.0f);
  small_tensor().dequantize_rows(1, 1, values.data());
  EXPECT_EQ(values, (std::vector<float>{-1.0f, 0.0f, 0.0f, -3.75f, 99.0f}));
}

TEST(QuantizedTensor, KeepsItsValuesWhenGroupsAreDivided) {
  QuantizedTensor tensor = small_tensor();
  ASSERT_EQ(tensor.group_size, 2);
  tensor.split_groups(1);
  EXPECT_EQ(tensor.group_size, 1);
  EXPECT_EQ(tensor.scales.size(), 8u);
  std::vector<float> values(8);
  tensor.dequantize_rows(0, 2, values.data());
  EXPECT_EQ(values, kValues);
}

TEST(LinearWeights, ReadTheirRowsFromEitherKindOfMatrix) {
  const LinearWeights quantized{hold(small_tensor()), {}};
  EXPECT_EQ(quantized.out_features(), 2);
  EXPECT_EQ(quantized.in_features(), 4);
  EXPECT_NE(quantized.quantized(), nullptr);
  std::vector<float> values(8);
  quantized.read_rows(0, 2, values.data());
  EXPECT_EQ(values, kValues);

  const DenseMatrix matrix{3, 1, DType::kF32, [](int64_t first, int64_t count, float* out) {
                             for (int64_t row = first; row < first + count; ++row) *out++ = static_cast<float>(row);
                           }};
  const LinearWeights dense{matrix, {}};
  EXPECT_EQ(dense.out_features(), 3);
  EXPECT_EQ(dense.in_features(), 1);
  EXPECT_EQ(dense.quantized(), nullptr);
  dense.read_rows(1, 2, values.data());
  EXPECT_EQ(values[0], 1.0f);
  EXPECT_EQ(values[1], 2.0f);
}

}  // namespace
}  // namespace salient::core
