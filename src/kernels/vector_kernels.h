#pragma once

#include <cstdint>

#include "core/math.h"
#include "kernels/kernels.h"

/// The kernels written once over a vector type. An instruction set's file defines a class V in an anonymous
/// namespace and instantiates make_kernel_set<V>(). V has
///   Float: 16 fp32 lanes, with zero, broadcast, load, store, load_half, store_half,
///     load_bfloat16, load_int8, add, subtract, multiply, divide,
///     fma(a, b, c) = a * b + c, negate, absolute, maximum (b where a is not above it), round (ties to even),
///     power_of_two (2^n of an integral n), zero_below(value, x, limit) = value where x >= limit, else 0;
///   Int: 16 int32 lanes, with int_broadcast(x), int_broadcast_multiply(zeros, sum) = -zeros[lane] * sum of
///     a |sum| that fits int16 (256 activations of 127 do), add_int, to_float, load_int, sum_int(x), the sum of its
///     lanes modulo 2^32;
///   Codes<Bits>: a line of codes, with load_codes<Bits>(line); Inputs<Bits>: its 8 (4 bits) or 4 (8 bits)
///     activations in every lane, with load_inputs<Bits>(values); accumulate(sum, codes, inputs) = sum + products of
///     the codes, 8-bit ones less kCodeBias, with the activations;
///   narrow_int8(Float, int8_t*): stores 16 integral lanes and returns them as Int;
///   where instructions serve it better than memory, sum_lanes(Float) in the order of the one below, and
///   max_lanes(Float); where they multiply several tokens at once, group_dots of its own for those, as the one below;
///   the register blocking: kDenseTokens, kDenseTiles, kQuantizedTokens, kQuantizedTiles, kAttendRows,
///     kAttendBlocks.
/// Nothing here may call an inline function of the standard library: the linker could keep the copy compiled with
/// these instructions for everyone.
namespace salient::kernels {

template <typename V>
struct VectorKernels {
  using Float = typename V::Float;

  /// Columns summed before a weight panel is revisited for the next tokens: 1,024 columns of four fp32 tiles are
  /// 256 KiB, half of a small L2 cache.
  static constexpr int64_t kColumnBlock = 1024;

  /// A lone token streams through weights in memory: the processor's own prefetcher stops at the end of every page, and
  /// follows too closely.
  static void prefetch(const void* weights) {
    constexpr int64_t kAhead = 4096;
    __builtin_prefetch(static_cast<const uint8_t*>(weights) + kAhead);
  }

  // Partial vectors: `count` lanes of memory, the others set to `fill` or left alone.

  static Float load_first(const float* x, int64_t count, float fill) {
    if (count >= kLanes) return V::load(x);
    float lanes[kLanes];
    for (int i = 0; i < kLanes; ++i) lanes[i] = i < count ? x[i] : fill;
    return V::load(lanes);
  }

  static void store_first(float* x, int64_t count, Float value) {
    if (count >= kLanes) return V::store(x, value);
    float lanes[kLanes];
    V::store(lanes, value);
    for (int i = 0; i < count; ++i) x[i] = lanes[i];
  }

  static float sum_lanes(Float value) {
    if constexpr (requires { V::sum_lanes(value); }) return V::sum_lanes(value);
    float lanes[kLanes];
    V::store(lanes, value);
    for (int half = kLanes / 2; half > 0; half /= 2) {
      for (int i = 0; i < half; ++i) lanes[i] += lanes[i + half];
    }
    return lanes[0];
  }

  static float max_lanes(Float value) {
    if constexpr (requires { V::max_lanes(value); }) return V::max_lanes(value);
    float lanes[kLanes];
    V::store(lanes, value);
    float largest = lanes[0];
    for (int i = 1; i < kLanes; ++i) largest = lanes[i] > largest ? lanes[i] : largest;
    return largest;
  }

  static Float exp(Float x) {
    using namespace core::exp_constants;
    // The operands' order makes a NaN the result kHighest here; zero_below then turns it into 0.
    const Float bounded = V::negate(V::maximum(V::negate(x), V::broadcast(-kHighest)));
    const Float n = V::round(V::multiply(bounded, V::broadcast(kLog2E)));
    Float r = V::fma(n, V::broadcast(-kLn2High), bounded);
    r = V::fma(n, V::broadcast(-kLn2Low), r);
    Float sum = V::broadcast(kTaylor[0]);
    for (int i = 1; i < 8; ++i) sum = V::fma(sum, r, V::broadcast(kTaylor[i]));
    return V::zero_below(V::multiply(sum, V::power_of_two(n)), x, kLowest);
  }

  // Dense matrices.

  struct Fp32 {
    using Stored = float;
    static Float load(const Stored* weights) { return V::load(weights); }
  };
  struct Fp16 {
    using Stored = uint16_t;
    static Float load(const Stored* weights) { return V::load_half(weights); }
  };
  struct Bf16 {
    using Stored = uint16_t;
    static Float load(const Stored* weights) { return V::load_bfloat16(weights); }
  };
  struct Int8 {
    using Stored = int8_t;
    static Float load(const Stored* numbers) { return V::load_int8(numbers); }
  };

  /// One register block: Tokens x Tiles over the columns [begin, end).
  template <typename Weight, int Tokens, int Tiles>
  static void dense_block(const DenseTiles& weights, int64_t tile, int64_t begin, int64_t end, const float* x,
                          int64_t x_stride, bool accumulate, float* y, int64_t y_stride) {
    const auto* data = static_cast<const typename Weight::Stored*>(weights.data) + tile * weights.columns * kLanes;
    Float sums[Tokens][Tiles];
    for (int t = 0; t < Tokens; ++t) {
      for (int i = 0; i < Tiles; ++i) {
        const int64_t row = (tile + i) * kLanes;
        sums[t][i] = accumulate ? load_first(y + t * y_stride + row, weights.rows - row, 0.0f) : V::zero();
      }
    }
    for (int64_t column = begin; column < end; ++column) {
      Float w[Tiles];
      for (int i = 0; i < Tiles; ++i) {
        const auto* stored = data + (i * weights.columns + column) * kLanes;
        if constexpr (Tokens == 1) prefetch(stored);
        w[i] = Weight::load(stored);
      }
      for (int t = 0; t < Tokens; ++t) {
        const Float input = V::broadcast(x[t * x_stride + column]);
        for (int i = 0; i < Tiles; ++i) sums[t][i] = V::fma(input, w[i], sums[t][i]);
      }
    }
    for (int t = 0; t < Tokens; ++t) {
      for (int i = 0; i < Tiles; ++i) {
        const int64_t row = (tile + i) * kLanes;
        store_first(y + t * y_stride + row, weights.rows - row, sums[t][i]);
      }
    }
  }

  /// All tokens through Tiles tiles, in blocks of Tokens and one smaller block for the rest.
  template <typename Weight, int Tokens, int Tiles>
  static void dense_tokens(const DenseTiles& weights, int64_t tile, int64_t begin, int64_t end, const float* x,
                           int64_t x_stride, int64_t tokens, bool accumulate, float* y, int64_t y_stride) {
    int64_t token = 0;
    for (; token + Tokens <= tokens; token += Tokens) {
      dense_block<Weight, Tokens, Tiles>(weights, tile, begin, end, x + token * x_stride, x_stride, accumulate,
                                         y + token * y_stride, y_stride);
    }
    if constexpr (Tokens > 1) {
      if (token < tokens) {
        dense_tokens<Weight, Tokens - 1, Tiles>(weights, tile, begin, end, x + token * x_stride, x_stride,
                                                tokens - token, accumulate, y + token * y_stride, y_stride);
      }
    }
  }

  /// Tiles tiles at a time, then one by one, the columns in blocks of `block`.
  template <typename Weight, int Tokens, int Tiles>
  static void dense_tiles(const DenseTiles& weights, int64_t first_tile, int64_t end_tile, int64_t block,
                          const float* x, int64_t x_stride, int64_t tokens, bool accumulate, float* y,
                          int64_t y_stride) {
    int64_t tile = first_tile;
    for (; tile + Tiles <= end_tile; tile += Tiles) {
      for (int64_t begin = 0; begin == 0 || begin < weights.columns; begin += block) {
        const int64_t end = begin + block < weights.columns ? begin + block : weights.columns;
        dense_tokens<Weight, Tokens, Tiles>(weights, tile, begin, end, x, x_stride, tokens, accumulate || begin > 0, y,
                                            y_stride);
      }
    }
    if constexpr (Tiles > 1) {
      dense_tiles<Weight, Tokens, 1>(weights, tile, end_tile, block, x, x_stride, tokens, accumulate, y, y_stride);
    }
  }

  /// A lone token needs no second visit to a panel, so its columns are summed in one go; one tile more than a single
  /// one keeps its multiply-adds from waiting for each other.
  template <typename Weight>
  static void multiply_dense(const DenseTiles& weights, int64_t first_tile, int64_t end_tile, const float* x,
                             int64_t x_stride, int64_t tokens, bool accumulate, float* y, int64_t y_stride) {
    if (tokens == 1) {
      dense_tiles<Weight, 1, 2>(weights, first_tile, end_tile, weights.columns, x, x_stride, tokens, accumulate, y,
                                y_stride);
    } else {
      dense_tiles<Weight, V::kDenseTokens, V::kDenseTiles>(weights, first_tile, end_tile, kColumnBlock, x, x_stride,
                                                           tokens, accumulate, y, y_stride);
    }
  }

  // Quantized matrices.

  /// Adds the products of one line of a group for Tokens x Tiles.
  template <int Bits, int Tokens, int Tiles>
  static void add_line(const uint8_t* const* codes, int line, const int8_t* values, int64_t columns,
                       typename V::Int (*dots)[Tiles]) {
    typename V::template Codes<Bits> line_codes[Tiles];
    for (int i = 0; i < Tiles; ++i) {
      if constexpr (Tokens == 1) prefetch(codes[i] + line * 64);
      line_codes[i] = V::template load_codes<Bits>(codes[i] + line * 64);
    }
    for (int t = 0; t < Tokens; ++t) {
      const auto inputs = V::template load_inputs<Bits>(values + t * columns + line * (32 / Bits));
      for (int i = 0; i < Tiles; ++i) dots[t][i] = V::accumulate(dots[t][i], line_codes[i], inputs);
    }
  }

  /// The integer sums of one group for Tokens x Tiles, exact.
  template <int Bits, int Tokens, int Tiles>
  static void group_dots(const uint8_t* const* codes, int group_size, const int8_t* values, int64_t columns,
                         typename V::Int (*dots)[Tiles]) {
    const int lines = group_size * Bits / 32;
    if constexpr (Tokens > 1 && requires { V::template group_dots<Bits, Tokens, Tiles>; }) {
      V::template group_dots<Bits, Tokens, Tiles>(codes, group_size, values, columns, dots);
    } else if constexpr (Tokens > 1) {
      for (int line = 0; line < lines; ++line) add_line<Bits, Tokens, Tiles>(codes, line, values, columns, dots);
    } else {
      // Few sums: two chains of them, or each product would wait for the one before.
      typename V::Int odd[1][Tiles];
      for (int i = 0; i < Tiles; ++i) odd[0][i] = V::int_broadcast(0);
      for (int line = 0; line < lines; line += 2) {
        add_line<Bits, 1, Tiles>(codes, line, values, columns, dots);
        add_line<Bits, 1, Tiles>(codes, line + 1, values, columns, odd);
      }
      for (int i = 0; i < Tiles; ++i) dots[0][i] = V::add_int(dots[0][i], odd[0][i]);
    }
  }

  /// 16 scales or offsets from number `index` on.
  template <bool Half>
  static Float load_numbers(const void* numbers, int64_t index) {
    if constexpr (Half) {
      return V::load_half(static_cast<const uint16_t*>(numbers) + index);
    } else {
      return V::load(static_cast<const float*>(numbers) + index);
    }
  }

  template <int Bits, bool Offsets, bool Half, int Tokens, int Tiles>
  static void quantized_block(const QuantizedTiles& weights, int64_t tile, const Int8Activations& x, int64_t token,
                              float* y, int64_t y_stride) {
    const int64_t groups = weights.columns / weights.group_size;
    const int64_t group_bytes = int64_t{weights.group_size} * kLanes * Bits / 8;
    Float sums[Tokens][Tiles];
    for (int t = 0; t < Tokens; ++t) {
      for (int i = 0; i < Tiles; ++i) sums[t][i] = V::zero();
    }
    for (int64_t group = 0; group < groups; ++group) {
      typename V::Int dots[Tokens][Tiles];
      const uint8_t* codes[Tiles];
      for (int i = 0; i < Tiles; ++i) {
        const int64_t index = (tile + i) * groups + group;
        codes[i] = weights.codes + index * group_bytes;
        for (int t = 0; t < Tokens; ++t) {
          const int32_t sum = x.sums[(token + t) * groups + group];
          const int32_t bias = Bits == 8 ? V::kCodeBias * sum : 0;
          if constexpr (Offsets) {
            dots[t][i] = V::int_broadcast(bias);
          } else {
            dots[t][i] = V::int_broadcast_multiply(weights.zeros + index * kLanes, sum);
            if constexpr (Bits == 8 && V::kCodeBias != 0) dots[t][i] = V::add_int(dots[t][i], V::int_broadcast(bias));
          }
        }
      }
      group_dots<Bits, Tokens, Tiles>(codes, weights.group_size,
                                      x.values + token * weights.columns + group * weights.group_size, weights.columns,
                                      dots);
      for (int i = 0; i < Tiles; ++i) {
        const int64_t index = ((tile + i) * groups + group) * kLanes;
        const Float weight_scales = load_numbers<Half>(weights.scales, index);
        for (int t = 0; t < Tokens; ++t) {
          const float x_scale = x.scales[(token + t) * groups + group];
          const Float scale = V::multiply(weight_scales, V::broadcast(x_scale));
          sums[t][i] = V::fma(V::to_float(dots[t][i]), scale, sums[t][i]);
          if constexpr (Offsets) {
            const float x_sum = x_scale * static_cast<float>(x.sums[(token + t) * groups + group]);
            sums[t][i] = V::fma(load_numbers<Half>(weights.offsets, index), V::broadcast(x_sum), sums[t][i]);
          }
        }
      }
    }
    for (int t = 0; t < Tokens; ++t) {
      for (int i = 0; i < Tiles; ++i) {
        const int64_t row = (tile + i) * kLanes;
        store_first(y + (token + t) * y_stride + row, weights.rows - row, sums[t][i]);
      }
    }
  }

  template <int Bits, bool Offsets, bool Half, int Tokens, int Tiles>
  static void quantized_tokens(const QuantizedTiles& weights, int64_t tile, const Int8Activations& x, int64_t token,
                               int64_t tokens, float* y, int64_t y_stride) {
    for (; token + Tokens <= tokens; token += Tokens) {
      quantized_block<Bits, Offsets, Half, Tokens, Tiles>(weights, tile, x, token, y, y_stride);
    }
    if constexpr (Tokens > 1) {
      if (token < tokens) {
        quantized_tokens<Bits, Offsets, Half, Tokens - 1, Tiles>(weights, tile, x, token, tokens, y, y_stride);
      }
    }
  }

  template <int Bits, bool Offsets, bool Half, int Tokens, int Tiles>
  static void quantized_tiles(const QuantizedTiles& weights, int64_t first_tile, int64_t end_tile,
                              const Int8Activations& x, int64_t tokens, float* y, int64_t y_stride) {
    int64_t tile = first_tile;
    for (; tile + Tiles <= end_tile; tile += Tiles) {
      quantized_tokens<Bits, Offsets, Half, Tokens, Tiles>(weights, tile, x, 0, tokens, y, y_stride);
    }
    for (; tile < end_tile; ++tile) {
      quantized_tokens<Bits, Offsets, Half, Tokens, 1>(weights, tile, x, 0, tokens, y, y_stride);
    }
  }

  /// A lone token is bound by memory, which is read fastest as one stream from begin to end. Several tokens are bound
  /// by arithmetic: the block that keeps all its sums in registers is best.
  template <int Bits, bool Offsets, bool Half>
  static void quantized_rows(const QuantizedTiles& weights, int64_t first_tile, int64_t end_tile,
                             const Int8Activations& x, int64_t tokens, float* y, int64_t y_stride) {
    if (tokens == 1) {
      quantized_tiles<Bits, Offsets, Half, 1, 1>(weights, first_tile, end_tile, x, tokens, y, y_stride);
    } else {
      quantized_tiles<Bits, Offsets, Half, V::kQuantizedTokens, V::kQuantizedTiles>(weights, first_tile, end_tile, x,
                                                                                    tokens, y, y_stride);
    }
  }

  template <int Bits>
  static void multiply_quantized(const QuantizedTiles& weights, int64_t first_tile, int64_t end_tile,
                                 const Int8Activations& x, int64_t tokens, float* y, int64_t y_stride) {
    const auto multiply = weights.offsets
                              ? (weights.half ? quantized_rows<Bits, true, true> : quantized_rows<Bits, true, false>)
                              : (weights.half ? quantized_rows<Bits, false, true> : quantized_rows<Bits, false, false>);
    multiply(weights, first_tile, end_tile, x, tokens, y, y_stride);
  }

  static void quantize_int8(const float* x, int64_t columns, int group_size, int8_t* values, float* scales,
                            int32_t* sums) {
    for (int64_t group = 0; group < columns / group_size; ++group) {
      const float* inputs = x + group * group_size;
      Float magnitudes = V::zero();
      for (int i = 0; i < group_size; i += kLanes) {
        magnitudes = V::maximum(V::absolute(V::load(inputs + i)), magnitudes);
      }
      const float largest = max_lanes(magnitudes);
      const Float inverse = V::broadcast(largest > 0.0f ? 127.0f / largest : 0.0f);
      typename V::Int sum = V::int_broadcast(0);
      for (int i = 0; i < group_size; i += kLanes) {
        const Float rounded = V::round(V::multiply(V::load(inputs + i), inverse));
        sum = V::add_int(sum, V::narrow_int8(rounded, values + group * group_size + i));
      }
      scales[group] = largest / 127.0f;
      sums[group] = static_cast<int32_t>(V::sum_int(sum));
    }
  }

  // Element-wise work.

  static void rms_norm(const float* x, const float* weight, float epsilon, int64_t size, float* out) {
    Float squares = V::zero();
    for (int64_t i = 0; i < size; i += kLanes) {
      const Float value = load_first(x + i, size - i, 0.0f);
      squares = V::fma(value, value, squares);
    }
    const float mean = sum_lanes(squares) / static_cast<float>(size);
    const Float inverse = V::broadcast(1.0f / __builtin_sqrtf(mean + epsilon));
    for (int64_t i = 0; i < size; i += kLanes) {
      const Float scaled = V::multiply(load_first(x + i, size - i, 0.0f), inverse);
      store_first(out + i, size - i, V::multiply(scaled, load_first(weight + i, size - i, 0.0f)));
    }
  }

  static void layer_norm(const float* x, const float* weight, const float* bias, float epsilon, int64_t size,
                         float* out) {
    Float sums = V::zero();
    for (int64_t i = 0; i < size; i += kLanes) sums = V::add(sums, load_first(x + i, size - i, 0.0f));
    const float mean = sum_lanes(sums) / static_cast<float>(size);
    const Float means = V::broadcast(mean);
    Float squares = V::zero();
    for (int64_t i = 0; i < size; i += kLanes) {
      const Float centred = V::subtract(load_first(x + i, size - i, mean), means);
      squares = V::fma(centred, centred, squares);
    }
    const float variance = sum_lanes(squares) / static_cast<float>(size);
    const Float inverse = V::broadcast(1.0f / __builtin_sqrtf(variance + epsilon));
    for (int64_t i = 0; i < size; i += kLanes) {
      const Float scaled = V::multiply(V::subtract(load_first(x + i, size - i, 0.0f), means), inverse);
      const Float weights = load_first(weight + i, size - i, 0.0f);
      store_first(out + i, size - i, V::fma(scaled, weights, load_first(bias + i, size - i, 0.0f)));
    }
  }

  static void rotate(float* x, const float* cos, const float* sin, int64_t heads, int64_t head_dim,
                     int64_t rotary_dim) {
    const int64_t half = rotary_dim / 2;
    for (int64_t head = 0; head < heads; ++head) {
      float* first = x + head * head_dim;
      float* second = first + half;
      for (int64_t i = 0; i < half; i += kLanes) {
        const int64_t count = half - i;
        const Float a = load_first(first + i, count, 0.0f);
        const Float b = load_first(second + i, count, 0.0f);
        const Float c = load_first(cos + i, count, 0.0f);
        const Float s = load_first(sin + i, count, 0.0f);
        store_first(first + i, count, V::fma(a, c, V::negate(V::multiply(b, s))));
        store_first(second + i, count, V::fma(b, c, V::multiply(a, s)));
      }
    }
  }

  /// x[i] = function(x[i]).
  template <typename Function>
  static void apply(float* x, int64_t size, Function function) {
    for (int64_t i = 0; i < size; i += kLanes) {
      store_first(x + i, size - i, function(load_first(x + i, size - i, 0.0f)));
    }
  }

  static void silu(float* x, int64_t size) {
    apply(x, size, [](Float value) { return V::divide(value, V::add(V::broadcast(1.0f), exp(V::negate(value)))); });
  }

  static void gelu(float* x, int64_t size) {
    using namespace gelu_constants;
    apply(x, size, [](Float value) {
      const Float cubic = V::multiply(V::multiply(value, value), V::broadcast(kCubic));
      const Float inner = V::fma(cubic, value, value);
      const Float power = exp(V::multiply(inner, V::broadcast(kMinusTwoRootTwoOverPi)));
      return V::divide(value, V::add(V::broadcast(1.0f), power));
    });
  }

  static void multiply(const float* y, int64_t size, float* x) {
    for (int64_t i = 0; i < size; i += kLanes) {
      store_first(x + i, size - i, V::multiply(load_first(x + i, size - i, 0.0f), load_first(y + i, size - i, 0.0f)));
    }
  }

  static Float capped(Float value, Float cap) {
    const Float one = V::broadcast(1.0f);
    const Float two = V::broadcast(2.0f);
    const Float power = exp(V::multiply(two, V::divide(value, cap)));
    return V::multiply(cap, V::subtract(one, V::divide(two, V::add(power, one))));
  }

  static void soft_cap(float* x, int64_t size, float cap) {
    apply(x, size, [cap](Float value) { return capped(value, V::broadcast(cap)); });
  }

  static void to_half(const float* x, int64_t size, uint16_t* out) {
    const Float largest = V::broadcast(65504.0f);
    for (int64_t i = 0; i < size; i += kLanes) {
      // maximum gives its second operand for a NaN, which so becomes -65504 as in the reference.
      const Float above = V::maximum(load_first(x + i, size - i, 0.0f), V::negate(largest));
      const Float bounded = V::negate(V::maximum(V::negate(above), V::negate(largest)));
      uint16_t halves[kLanes];
      V::store_half(halves, bounded);
      for (int lane = 0; lane < kLanes && i + lane < size; ++lane) out[i + lane] = halves[lane];
    }
  }

  static void add(const float* y, int64_t size, float* x) {
    for (int64_t i = 0; i < size; i += kLanes) {
      store_first(x + i, size - i, V::add(load_first(x + i, size - i, 0.0f), load_first(y + i, size - i, 0.0f)));
    }
  }

  static float maximum(const float* x, int64_t size) {
    Float largest = load_first(x, size, x[0]);
    for (int64_t i = kLanes; i < size; i += kLanes) {
      largest = V::maximum(load_first(x + i, size - i, x[0]), largest);
    }
    return max_lanes(largest);
  }
};

}  // namespace salient::kernels
