#include <cmath>

#include "tests/kernels/kernel_sets.h"

namespace salient::kernels {
namespace {

using MatrixKernels = AgainstScalar;
INSTANTIATE_TEST_SUITE_P(Sets, MatrixKernels, vector_sets(), set_name);

struct Shape {
  int64_t rows;
  int64_t columns;
  int64_t tokens;
};

int64_t tiles_of(int64_t rows) {
  return (rows + kLanes - 1) / kLanes;
}

/// Packs fp32 rows into tiles of the given encoding.
template <typename Stored, typename Encode>
std::vector<Stored> pack(const std::vector<float>& weights, int64_t rows, int64_t columns, Encode encode) {
  std::vector<Stored> tiles(tiles_of(rows) * columns * kLanes);
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t column = 0; column < columns; ++column) {
      tiles[(row / kLanes * columns + column) * kLanes + row % kLanes] = encode(weights[row * columns + column]);
    }
  }
  return tiles;
}

TEST_P(MatrixKernels, DenseProductsAreTheSameBits) {
  for (const Shape& shape : {Shape{16, 1, 1}, Shape{5, 33, 2}, Shape{64, 64, 7}, Shape{130, 1100, 13}}) {
    const auto weights = random_floats(shape.rows * shape.columns);
    const auto x = random_floats(shape.tokens * shape.columns);
    const auto f32 = pack<float>(weights, shape.rows, shape.columns, [](float w) { return w; });
    const auto f16 = pack<uint16_t>(weights, shape.rows, shape.columns, core::float_to_half);
    const auto bf16 = pack<uint16_t>(weights, shape.rows, shape.columns, core::float_to_bfloat16);
    const std::pair<KernelSet::DenseMultiply KernelSet::*, const void*> kinds[] = {
        {&KernelSet::multiply_f32, f32.data()},
        {&KernelSet::multiply_f16, f16.data()},
        {&KernelSet::multiply_bf16, bf16.data()}};
    for (const auto& [kernel, data] : kinds) {
      const DenseTiles tiles{data, shape.rows, shape.columns};
      const int64_t stride = shape.rows + 3;
      for (const bool accumulate : {false, true}) {
        std::vector<float> expected(shape.tokens * stride, 7.0f);
        std::vector<float> actual = expected;
        (kScalarKernels.*kernel)(tiles, 0, tiles_of(shape.rows), x.data(), shape.columns, shape.tokens, accumulate,
                                 expected.data(), stride);
        (set().*kernel)(tiles, 0, tiles_of(shape.rows), x.data(), shape.columns, shape.tokens, accumulate,
                        actual.data(), stride);
        expect_same_bits(expected, actual);
      }
    }
  }
}

TEST(DenseReference, MatchesAPlainDoubleSum) {
  const int64_t rows = 3;
  const int64_t columns = 50;
  std::vector<float> weights(rows * columns);
  std::vector<float> x(columns);
  for (size_t i = 0; i < weights.size(); ++i) weights[i] = std::sin(static_cast<float>(i));
  for (size_t i = 0; i < x.size(); ++i) x[i] = std::cos(static_cast<float>(3 * i));
  const auto tiles = pack<float>(weights, rows, columns, [](float w) { return w; });
  std::vector<float> y(rows);
  kScalarKernels.multiply_f32({tiles.data(), rows, columns}, 0, 1, x.data(), columns, 1, false, y.data(), rows);
  for (int64_t row = 0; row < rows; ++row) {
    double sum = 0;
    for (int64_t i = 0; i < columns; ++i) sum += double{weights[row * columns + i]} * x[i];
    EXPECT_NEAR(y[row], sum, 1e-5);
  }
}

/// Random quantized weights in tiles, and the plain codes they came from.
struct QuantizedCase {
  std::vector<uint8_t> plain;  ///< [rows][columns]
  std::vector<uint8_t> codes;
  std::vector<float> scales;
  std::vector<uint8_t> zeros;
  std::vector<float> offsets;
  std::vector<uint16_t> half_scales;
  std::vector<uint16_t> half_offsets;
  int bits;
  int64_t rows;
  int64_t columns;
  int group_size;
  QuantizedTiles tiles(bool with_offsets = false) const {
    return {codes.data(),
            scales.data(),
            with_offsets ? nullptr : zeros.data(),
            with_offsets ? offsets.data() : nullptr,
            rows,
            columns,
            group_size,
            /*half=*/false};
  }
  /// The same with scales and offsets rounded to fp16; `expected` has them in fp32 again.
  QuantizedTiles half_tiles(bool with_offsets, QuantizedCase& expected) {
    expected = *this;
    const auto round = [](std::vector<float>& numbers, std::vector<uint16_t>& halves) {
      halves.clear();
      for (float& number : numbers) {
        halves.push_back(core::float_to_half(number));
        number = core::half_to_float(halves.back());
      }
    };
    round(expected.scales, half_scales);
    round(expected.offsets, half_offsets);
    QuantizedTiles result = tiles(with_offsets);
    result.scales = half_scales.data();
    if (with_offsets) result.offsets = half_offsets.data();
    result.half = true;
    return result;
  }
  int64_t line_of(int64_t row, int64_t column) const {
    const int64_t step = 32 / bits;
    return row / kLanes * (columns / step) + column / step;
  }
};

KernelSet::QuantizedMultiply multiply_of(const KernelSet& set, int bits) {
  return bits == 4 ? set.multiply_int4 : set.multiply_int8;
}

template <typename Random>
QuantizedCase make_quantized(int bits, int64_t rows, int64_t columns, int group_size, Random random_int) {
  QuantizedCase c;
  c.bits = bits;
  c.rows = rows;
  c.columns = columns;
  c.group_size = group_size;
  const int largest = (1 << bits) - 1;
  c.plain.resize(rows * columns);
  for (uint8_t& code : c.plain) code = static_cast<uint8_t>(random_int(0, largest));
  c.codes.resize(tiles_of(rows) * columns * kLanes * bits / 8);
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t column = 0; column < columns; ++column) {
      uint8_t& byte = c.codes[c.line_of(row, column) * 64 + row % kLanes * 4 + column % 4];
      const bool high = bits == 4 && column % 8 >= 4;
      byte = static_cast<uint8_t>(byte | c.plain[row * columns + column] << (high ? 4 : 0));
    }
  }
  c.scales.resize(tiles_of(rows) * (columns / group_size) * kLanes);
  c.zeros.resize(c.scales.size());
  c.offsets.resize(c.scales.size());
  for (float& scale : c.scales) scale = static_cast<float>(random_int(-50, 100)) * 1e-3f;
  for (uint8_t& zero : c.zeros) zero = static_cast<uint8_t>(random_int(0, largest));
  for (float& offset : c.offsets) offset = static_cast<float>(random_int(-70, 60)) * 1e-2f;
  return c;
}

struct Activations {
  std::vector<int8_t> values;
  std::vector<float> scales;
  std::vector<int32_t> sums;
  Int8Activations view() const { return {values.data(), scales.data(), sums.data()}; }
};

Activations quantize(const KernelSet& set, const std::vector<float>& x, int64_t tokens, int64_t columns,
                     int group_size) {
  const int64_t groups = columns / group_size;
  Activations a{std::vector<int8_t>(tokens * columns), std::vector<float>(tokens * groups),
                std::vector<int32_t>(tokens * groups)};
  for (int64_t t = 0; t < tokens; ++t) {
    set.quantize_int8(&x[t * columns], columns, group_size, &a.values[t * columns], &a.scales[t * groups],
                      &a.sums[t * groups]);
  }
  return a;
}

TEST_P(MatrixKernels, QuantizedProductsAreTheSameBits) {
  for (const int bits : {4, 8}) {
    for (const int group_size : {16, 32, 64, 128, 256}) {
      const int64_t columns = 3 * int64_t{group_size};
      for (const Shape& shape :
           {Shape{16, columns, 1}, Shape{200, columns, 1}, Shape{7, columns, 2}, Shape{40, columns, 3},
            Shape{33, columns, 4}, Shape{7, columns, 5}, Shape{48, columns, 6}, Shape{100, columns, 7},
            Shape{17, columns, 8}, Shape{100, columns, 9}}) {
        QuantizedCase c =
            make_quantized(bits, shape.rows, shape.columns, group_size, [&](int a, int b) { return random_int(a, b); });
        const auto x = random_floats(shape.tokens * shape.columns, 3.0f);
        const Activations a = quantize(kScalarKernels, x, shape.tokens, shape.columns, group_size);
        for (const bool offsets : {false, true}) {
          std::vector<float> expected(shape.tokens * shape.rows);
          std::vector<float> actual(expected.size());
          multiply_of(kScalarKernels, bits)(c.tiles(offsets), 0, tiles_of(shape.rows), a.view(), shape.tokens,
                                            expected.data(), shape.rows);
          multiply_of(set(), bits)(c.tiles(offsets), 0, tiles_of(shape.rows), a.view(), shape.tokens, actual.data(),
                                   shape.rows);
          expect_same_bits(expected, actual);
          // fp16 scales and offsets give what the same numbers give in fp32.
          QuantizedCase same;
          const QuantizedTiles half = c.half_tiles(offsets, same);
          multiply_of(kScalarKernels, bits)(same.tiles(offsets), 0, tiles_of(shape.rows), a.view(), shape.tokens,
                                            expected.data(), shape.rows);
          for (const KernelSet* kernels : {&kScalarKernels, &set()}) {
            multiply_of(*kernels, bits)(half, 0, tiles_of(shape.rows), a.view(), shape.tokens, actual.data(),
                                        shape.rows);
            expect_same_bits(expected, actual);
          }
        }
      }
    }
  }
}

TEST_P(MatrixKernels, ExtremeCodesAndActivationsDoNotSaturate) {
  for (const int bits : {4, 8}) {
    for (const bool lowest : {false, true}) {
      QuantizedCase c = make_quantized(bits, 16, 128, 128, [lowest](int low, int high) { return lowest ? low : high; });
      Activations a{std::vector<int8_t>(128, 127), {1.0f}, {127 * 128}};
      for (const int8_t value : {int8_t{127}, int8_t{-127}}) {
        std::fill(a.values.begin(), a.values.end(), value);
        a.sums[0] = 128 * value;
        std::fill(c.zeros.begin(), c.zeros.end(), uint8_t{1});
        std::fill(c.scales.begin(), c.scales.end(), 1.0f);
        std::vector<float> y(16);
        multiply_of(set(), bits)(c.tiles(), 0, 1, a.view(), 1, y.data(), 16);
        const float code = lowest ? 0.0f : static_cast<float>((1 << bits) - 1);
        for (const float result : y) EXPECT_EQ(result, (code - 1.0f) * 128.0f * static_cast<float>(value));
      }
    }
  }
}

TEST(QuantizedReference, IsTheProductOfDequantizedFactors) {
  for (const int bits : {4, 8}) {
    int next = 0;
    const QuantizedCase c =
        make_quantized(bits, 20, 64, 32, [&](int low, int high) { return low + (next += 7) % (high - low + 1); });
    std::vector<float> x(64);
    for (size_t i = 0; i < x.size(); ++i) x[i] = std::sin(static_cast<float>(i)) * 4.0f;
    const Activations a = quantize(kScalarKernels, x, 1, 64, 32);
    for (const bool offsets : {false, true}) {
      std::vector<float> y(20);
      multiply_of(kScalarKernels, bits)(c.tiles(offsets), 0, 2, a.view(), 1, y.data(), 20);
      for (int64_t row = 0; row < 20; ++row) {
        double sum = 0;
        for (int64_t column = 0; column < 64; ++column) {
          const int64_t index = (row / kLanes * 2 + column / 32) * kLanes + row % kLanes;
          const double code = c.plain[row * 64 + column];
          const double weight = offsets ? code * double{c.scales[index]} + double{c.offsets[index]}
                                        : (code - c.zeros[index]) * double{c.scales[index]};
          sum += weight * a.values[column] * double{a.scales[column / 32]};
        }
        EXPECT_NEAR(y[row], sum, 1e-5 * (1 + std::fabs(sum)) * (1 << bits));
      }
    }
  }
}

TEST_P(MatrixKernels, Int8RoundingIsTheSameBits) {
  std::vector<float> x = random_floats(4 * 256, 2.0f);
  std::fill(x.begin(), x.begin() + 64, 0.0f);  // a group of zeros has scale 0
  x[64] = 127.0f;                              // makes halves exact ties in its group
  for (int i = 65; i < 96; ++i) x[i] = static_cast<float>(i) - 80.5f;
  const Activations expected = quantize(kScalarKernels, x, 4, 256, 32);
  const Activations actual = quantize(set(), x, 4, 256, 32);
  EXPECT_EQ(expected.values, actual.values);
  EXPECT_EQ(expected.sums, actual.sums);
  expect_same_bits(expected.scales, actual.scales);
  EXPECT_EQ(expected.scales[0], 0.0f);
  EXPECT_EQ(expected.values[65], -16);  // -15.5 to even
}

}  // namespace
}  // namespace salient::kernels
