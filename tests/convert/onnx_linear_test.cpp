#include "convert/onnx_linear.h"

#include "tests/support/expect_error.h"
#include "tests/support/tiny_quantized.h"

namespace salient::convert {
namespace {

using core::ErrorKind;
using core::QuantizedTensor;
using tests::expect_error;
using tests::make_quantized;

std::vector<int> numbers(const std::vector<std::byte>& bytes) {
  std::vector<int> values;
  for (const std::byte byte : bytes) values.push_back(std::to_integer<int>(byte));
  return values;
}

std::vector<float> values(const core::LinearWeights& weights) {
  std::vector<float> result(static_cast<size_t>(weights.out_features() * weights.in_features()));
  weights.read_rows(0, weights.out_features(), result.data());
  return result;
}

// The operator's description: blob of [N, blocks, block_size * bits / 8], the first of two codes in the low half.
TEST(MatMulNBits, PacksTheFirstCodeInTheLowHalf) {
  QuantizedTensor weights = make_quantized(1, 48, 16, 1);
  for (int i = 0; i < 48; ++i) weights.codes[i] = static_cast<uint8_t>(i % 16);
  weights.zeros = {3, 8, 5};
  const MatMulNBitsWeights packed = pack_matmul_nbits(weights, "w");
  ASSERT_EQ(packed.codes.size(), 24u);
  const std::vector<int> row = numbers(packed.codes);
  EXPECT_EQ(std::vector<int>(row.begin(), row.begin() + 8),
            (std::vector<int>{0x10, 0x32, 0x54, 0x76, 0x98, 0xba, 0xdc, 0xfe}));
  EXPECT_EQ(numbers(packed.zeros), (std::vector<int>{0x83, 0x05}));
}

TEST(MatMulNBits, TakesAByteForEachOfEightBits) {
  QuantizedTensor weights = make_quantized(2, 16, 16, 1, 8);
  weights.zeros = {7, 200};
  const MatMulNBitsWeights packed = pack_matmul_nbits(weights, "w");
  EXPECT_EQ(numbers(packed.codes), std::vector<int>(weights.codes.begin(), weights.codes.end()));
  EXPECT_EQ(numbers(packed.zeros), (std::vector<int>{7, 200}));
}

TEST(MatMulNBits, LeavesOutZeroPointsInTheMiddle) {
  QuantizedTensor weights = make_quantized(4, 64, 32, 1);
  weights.zeros.assign(weights.zeros.size(), 8);
  EXPECT_TRUE(pack_matmul_nbits(weights, "w").zeros.empty());
  weights.zeros.back() = 9;
  EXPECT_FALSE(pack_matmul_nbits(weights, "w").zeros.empty());
}

TEST(MatMulNBits, HoldsGroupsOfPowersOfTwo) {
  for (const auto& [group_size, expected] : {std::pair(32, 32), {48, 16}, {96, 32}, {192, 64}}) {
    const QuantizedTensor weights = make_quantized(2, 2 * group_size, group_size, 5);
    const LinearFormat format = matmul_nbits_format(weights, ElementType::kFloat, "w");
    EXPECT_EQ(format.group_size, expected);
    const FittedLinear fitted = fit_linear(weights, format, "w");
    EXPECT_FALSE(fitted.change);
    EXPECT_EQ(values({core::hold(pack_matmul_nbits(fitted.weights, "w").weights), {}}),
              values({core::hold(weights), {}}));
  }
  expect_error(ErrorKind::kUnsupported, {"tensor a.b", "groups of 40", "powers of two"},
               [&] { matmul_nbits_format(make_quantized(2, 80, 40, 1), ElementType::kFloat, "a.b"); });
}

TEST(MatMulNBits, HoldsTheOrderOfInputsAndScalesAsPreciseAsTheGraphs) {
  QuantizedTensor weights = make_quantized(2, 64, 32, 5);
  for (int32_t i = 0; i < 64; ++i) weights.column_input.push_back(i * 5 % 64);
  weights.scales[1] = 0.1f;
  const FittedLinear fitted = fit_linear(weights, matmul_nbits_format(weights, ElementType::kFloat, "w"), "w");
  EXPECT_FALSE(fitted.change);
  EXPECT_EQ(values({core::hold(fitted.weights), {}}), values({core::hold(weights), {}}));
  const FittedLinear half = fit_linear(weights, matmul_nbits_format(weights, ElementType::kFloat16, "w"), "w");
  ASSERT_TRUE(half.change);
  EXPECT_NE(half.change->cause.find("fp16"), std::string::npos);
  EXPECT_EQ(half.weights.column_input, weights.column_input);
  EXPECT_EQ(half.weights.codes, weights.codes);
}

TEST(MatMulNBits, RefusesWhatIsNotFitted) {
  const QuantizedTensor good = make_quantized(3, 64, 32, 3);
  const auto expect_refused = [&](const std::vector<std::string>& parts, auto change) {
    QuantizedTensor weights = good;
    change(weights);
    expect_error(ErrorKind::kUnsupported, parts, [&] { pack_matmul_nbits(weights, "a.b"); });
  };
  expect_refused({"tensor a.b", "offsets"}, [](auto& w) {
    w.zeros.clear();
    w.offsets.assign(6, 0.25f);
  });
  expect_refused({"tensor a.b", "zero point 16", "4 bits"}, [](auto& w) { w.zeros[0] = 16; });
}

TEST(JoinLinears, PutsRowsOneAfterTheOther) {
  core::LinearWeights a{core::hold(make_quantized(2, 64, 32, 1)), {}};
  core::LinearWeights b{core::hold(make_quantized(3, 64, 32, 2)), {1, 2, 3}};
  const auto joined = join_linears(std::array<const core::LinearWeights*, 2>{&a, &b});
  ASSERT_TRUE(joined);
  std::vector<float> expected = values(a);
  for (const float value : values(b)) expected.push_back(value);
  EXPECT_EQ(values(*joined), expected);
  EXPECT_EQ(joined->bias, (std::vector<float>{0, 0, 1, 2, 3}));
}

TEST(JoinLinears, LeavesApartWhatIsQuantizedInDifferentWays) {
  const core::LinearWeights a{core::hold(make_quantized(2, 64, 32, 1)), {}};
  const core::LinearWeights groups{core::hold(make_quantized(2, 64, 64, 1)), {}};
  const core::LinearWeights bits{core::hold(make_quantized(2, 64, 32, 1, 8)), {}};
  const core::LinearWeights dense{core::DenseMatrix{2, 64, core::DType::kF32, {}}, {}};
  for (const core::LinearWeights* other : {&groups, &bits, &dense}) {
    EXPECT_FALSE(join_linears(std::array<const core::LinearWeights*, 2>{&a, other}));
    EXPECT_FALSE(join_linears(std::array<const core::LinearWeights*, 2>{other, &a}));
  }
}

}  // namespace
}  // namespace salient::convert
