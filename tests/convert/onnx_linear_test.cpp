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

TEST(MatMulNBits, DividesGroupsIntoPowersOfTwo) {
  for (const auto& [group_size, expected] : {std::pair(32, 32), {48, 16}, {96, 32}, {192, 64}}) {
    const QuantizedTensor weights = make_quantized(2, 2 * group_size, group_size, 5);
    const MatMulNBitsWeights packed = pack_matmul_nbits(weights, "w");
    EXPECT_EQ(packed.weights.group_size, expected);
    EXPECT_EQ(values({packed.weights, {}}), values({weights, {}}));
  }
}

TEST(MatMulNBits, TakesOffsetsThatAreZeroPoints) {
  QuantizedTensor weights = make_quantized(2, 64, 32, 3);
  QuantizedTensor shifted = weights;
  shifted.zeros.clear();
  for (size_t i = 0; i < weights.zeros.size(); ++i) {
    shifted.offsets.push_back(-weights.scales[i] * static_cast<float>(weights.zeros[i]));
  }
  EXPECT_EQ(pack_matmul_nbits(shifted, "w").zeros, pack_matmul_nbits(weights, "w").zeros);
}

TEST(MatMulNBits, RefusesWhatItCannotHold) {
  const QuantizedTensor good = make_quantized(3, 64, 32, 3);
  const auto expect_refused = [&](const std::vector<std::string>& parts, auto change) {
    QuantizedTensor weights = good;
    change(weights);
    expect_error(ErrorKind::kUnsupported, parts, [&] { pack_matmul_nbits(weights, "a.b"); });
  };
  expect_refused({"tensor a.b", "offset -0.3", "row 1, group 1", "zero point"}, [](auto& w) {
    w.zeros.clear();
    w.scales.assign(6, 0.25f);
    w.offsets = {0, -0.25f, -3.75f, -0.3f, 0, 0};
  });
  expect_refused({"tensor a.b", "offset -4", "scale 0.25"}, [](auto& w) {
    w.zeros.clear();
    w.scales.assign(6, 0.25f);
    w.offsets.assign(6, -4.0f);  // the zero point would be 16
  });
  expect_refused({"tensor a.b", "offset 0.25"}, [](auto& w) {
    w.zeros.clear();
    w.scales.assign(6, 0.25f);
    w.offsets.assign(6, 0.25f);
  });
  expect_refused({"tensor a.b", "zero point 16", "4 bits"}, [](auto& w) { w.zeros[0] = 16; });
  expect_error(ErrorKind::kUnsupported, {"tensor a.b", "groups of 40", "powers of two"},
               [&] { pack_matmul_nbits(make_quantized(2, 80, 40, 1), "a.b"); });
}

TEST(JoinLinears, PutsRowsOneAfterTheOther) {
  core::LinearWeights a{make_quantized(2, 64, 32, 1), {}};
  core::LinearWeights b{make_quantized(3, 64, 32, 2), {1, 2, 3}};
  const auto joined = join_linears(std::array<const core::LinearWeights*, 2>{&a, &b});
  ASSERT_TRUE(joined);
  std::vector<float> expected = values(a);
  for (const float value : values(b)) expected.push_back(value);
  EXPECT_EQ(values(*joined), expected);
  EXPECT_EQ(joined->bias, (std::vector<float>{0, 0, 1, 2, 3}));
}

TEST(JoinLinears, LeavesApartWhatIsQuantizedInDifferentWays) {
  const core::LinearWeights a{make_quantized(2, 64, 32, 1), {}};
  const core::LinearWeights groups{make_quantized(2, 64, 64, 1), {}};
  const core::LinearWeights bits{make_quantized(2, 64, 32, 1, 8), {}};
  const core::LinearWeights dense{core::DenseMatrix{2, 64, core::DType::kF32, {}}, {}};
  for (const core::LinearWeights* other : {&groups, &bits, &dense}) {
    EXPECT_FALSE(join_linears(std::array<const core::LinearWeights*, 2>{&a, other}));
    EXPECT_FALSE(join_linears(std::array<const core::LinearWeights*, 2>{other, &a}));
  }
}

}  // namespace
}  // namespace salient::convert
