#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

/// Free functions on plain pointers, one set per instruction set, all with the same bits: every float sum runs
/// in the one order that scalar.cpp spells out, fused multiply-adds are written where they are meant, and
/// exp is our own. `scalar.cpp` is the reference and the documentation of what each kernel computes.
namespace salient::kernels {

/// Rows of a packed weight tile, keys of a packed block, partial sums of a reduction: one a lane.
inline constexpr int kLanes = 16;
/// Places of memory that `sum_words` reads in turn.
inline constexpr int kReadStreams = 4;
/// Keys of one KV page, and of one chunk of the online softmax.
inline constexpr int kPageKeys = 64;
/// Keys of one part of a long context: parts are computed on their own and merged in order.
inline constexpr int kPartKeys = 8 * kPageKeys;
/// The largest head_dim the attention kernels take; it must be a multiple of kLanes.
inline constexpr int kMaxHeadDim = 256;

/// Constants of gelu's tanh form, with tanh written as an exponential.
namespace gelu_constants {
inline constexpr float kCubic = 0.044715f;
inline constexpr float kMinusTwoRootTwoOverPi = -1.59576912160573071f;
}  // namespace gelu_constants

/// A dense matrix [rows, columns] in tiles of 16 rows: element (16t + r, c) is at (t * columns + c) * 16 + r.
/// The last tile is padded with zeros. `data` holds fp32, fp16 or bf16 by the kernel it is given to.
struct DenseTiles {
  const void* data;
  int64_t rows;
  int64_t columns;
};

/// A 4-bit or 8-bit matrix [rows, columns] in tiles of 16 rows and groups of columns, in lines of 64 bytes. With 4
/// bits, line i of a tile's group holds columns 8i..8i+7 of 16 rows: byte 4r + j has column 8i + j of row r in its low
/// nibble, 8i + 4 + j in its high one. With 8 bits, line i holds columns 4i..4i+3: byte 4r + j has column 4i + j of row
/// r.
struct QuantizedTiles {
  const uint8_t* codes;  ///< [tiles][groups][group_size * bits / 32][64]
  const void* scales;    ///< [tiles][groups][16], fp16 with `half`, else fp32
  const uint8_t* zeros;  ///< [tiles][groups][16]; nullptr where there are offsets
  const void* offsets;   ///< [tiles][groups][16], as scales; nullptr where there are zero points
  int64_t rows;
  int64_t columns;
  int group_size;  ///< a multiple of 16, at most 256
  bool half;       ///< scales and offsets are fp16: less to read, where fp16 holds them
};

/// Activations rounded to int8, one scale per token and group: x = value * scale.
struct Int8Activations {
  const int8_t* values;  ///< [tokens][columns], -127..127
  const float* scales;   ///< [tokens][groups]
  const int32_t* sums;   ///< [tokens][groups]: sum of the group's values
};

/// The softmax of one query over some keys, not yet divided by its sum. Without a key, `maximum` is -infinity.
struct AttentionPart {
  float maximum;  ///< of the scores
  float sum;      ///< of exp(score - maximum)
  alignas(64) float values[kMaxHeadDim];
};

/// One query of one head: attends the keys [first_key, end_key) of its sequence, which may be none.
struct AttentionRow {
  const float* query;  ///< head_dim values
  AttentionPart* part;
  int64_t first_key;
  int64_t end_key;
};

/// The KV pages of one sequence, in order, and where in each page one kv head of one layer lies. At key_offset are
/// the page's keys in blocks of 16, [4][head_dim][16], so that a lane is a key; at value_offset its values,
/// [64][head_dim], so that a lane is a dimension. Offsets count numbers, which are fp32, fp16 or int8 by the kernel
/// they are given to. Behind the int8 numbers of 64 keys, and of 64 values, are their fp16 scales, [64]: a number
/// stands for itself times the scale of its key. Every number and scale of a page is finite, used or not.
struct AttentionCache {
  const std::byte* const* pages;
  int64_t key_offset;
  int64_t value_offset;
};

/// The kernels of one instruction set. Tokens are rows of row-major matrices with the given stride in elements.
struct KernelSet {
  const char* name;

  /// y[token][row] = sum over columns, in order, of x[token][column] * w[row][column]; for the tiles
  /// [first_tile, end_tile) only. With `accumulate` the sum starts at y's old value instead of 0.
  using DenseMultiply = void (*)(const DenseTiles& weights, int64_t first_tile, int64_t end_tile, const float* x,
                                 int64_t x_stride, int64_t tokens, bool accumulate, float* y, int64_t y_stride);
  DenseMultiply multiply_f32;
  DenseMultiply multiply_f16;
  DenseMultiply multiply_bf16;

  /// y[token][row] = sum over groups, in order, of float(sum of (code - zero) * value) * (weight scale * activation
  /// scale), the integer sums exact; where there are offsets, zero is 0 and each group also adds offset * (activation
  /// scale * float(sum of values)).
  using QuantizedMultiply = void (*)(const QuantizedTiles& weights, int64_t first_tile, int64_t end_tile,
                                     const Int8Activations& x, int64_t tokens, float* y, int64_t y_stride);
  QuantizedMultiply multiply_int4;
  QuantizedMultiply multiply_int8;

  /// Rounds one token's activations to int8 per group: scale = max|x| / 127, ties to even.
  void (*quantize_int8)(const float* x, int64_t columns, int group_size, int8_t* values, float* scales, int32_t* sums);

  /// out[i] = x[i] / sqrt(mean(x^2) + epsilon) * weight[i]. Zhang and Sennrich, "Root Mean Square Layer
  /// Normalization", 2019.
  void (*rms_norm)(const float* x, const float* weight, float epsilon, int64_t size, float* out);

  /// out[i] = (x[i] - mean) / sqrt(mean((x - mean)^2) + epsilon) * weight[i] + bias[i]. Ba et al., "Layer
  /// Normalization", 2016.
  void (*layer_norm)(const float* x, const float* weight, const float* bias, float epsilon, int64_t size, float* out);

  /// Rotates the first `rotary_dim` dimensions of each of `heads` vectors of `head_dim` in place: dimension i pairs
  /// with i + rotary_dim / 2. cos and sin hold rotary_dim / 2 values for the token's position. Su et al., "RoFormer",
  /// 2021, in the half-split layout of Llama.
  void (*rotate)(float* x, const float* cos, const float* sin, int64_t heads, int64_t head_dim, int64_t rotary_dim);

  /// x[i] = x[i] / (1 + exp(-x[i])).
  void (*silu)(float* x, int64_t size);
  /// x[i] = x[i] / 2 * (1 + tanh(sqrt(2 / pi) * (x[i] + 0.044715 x[i]^3))), computed as x / (1 + exp(-2 z)).
  void (*gelu)(float* x, int64_t size);
  /// x[i] *= y[i].
  void (*multiply)(const float* y, int64_t size, float* x);
  /// x[i] = cap * tanh(x[i] / cap), tanh(z) = 1 - 2 / (exp(2 z) + 1).
  void (*soft_cap)(float* x, int64_t size, float cap);

  /// softmax(scale * q K^T) V for rows that share one kv head, into the rows' parts; a `soft_cap` above 0 bounds the
  /// scores as above. The scale of an int8 key multiplies its dot product, that of an int8 value the key's weight for
  /// the values. Each page's maximum, sum and weighted values are computed on their own and merged in page order
  /// (Milakov and Gimelshein, 2018), so a part does not depend on how rows are batched.
  using Attend = void (*)(const AttentionRow* rows, int64_t row_count, const AttentionCache& cache, int64_t head_dim,
                          float scale, float soft_cap);
  Attend attend_f16;
  Attend attend_f32;
  Attend attend_i8;
  /// Merges the parts of one query, [count], in order, and divides by the sum: head_dim values. One of them has a key.
  void (*merge_parts)(const AttentionPart* parts, int64_t count, int64_t head_dim, float* output);

  /// fp32 to fp16, to nearest, ties to even, bounded to the largest finite fp16.
  void (*to_half)(const float* x, int64_t size, uint16_t* out);

  /// x[i] += y[i].
  void (*add)(const float* y, int64_t size, float* x);

  /// max of x, size > 0.
  float (*maximum)(const float* x, int64_t size);
  /// sum of exp(x[i] - shift), in 16 interleaved partial sums.
  float (*sum_exp)(const float* x, int64_t size, float shift);
  /// sum of exp(p[i] - p_log_sum) * ((p[i] - p_log_sum) - (q[i] - q_log_sum)): KL divergence of q from p, from
  /// logits and their log-sum-exp, in 16 interleaved partial sums.
  float (*divergence)(const float* p, float p_log_sum, const float* q, float q_log_sum, int64_t size);

  /// The sum, modulo 2^32, of `count` words, a multiple of 64, read in kReadStreams interleaved streams: a quarter of
  /// the words each. It is what weights cost to read when nothing is computed from them.
  uint32_t (*sum_words)(const uint32_t* words, int64_t count);
};

/// The set in use: the best this CPU runs, or the one SALIENT_ISA names.
/// Throws unsupported when that one is unknown or cannot run here.
const KernelSet& active_kernels();

/// The names of this build's sets, the best first.
std::vector<const char*> kernel_names();

/// A set by name; nullptr when the name is unknown or this CPU cannot run it.
const KernelSet* find_kernels(const char* name);

extern const KernelSet kScalarKernels;
#if defined(__x86_64__)
extern const KernelSet kAvx2Kernels;
extern const KernelSet kAvxVnniKernels;
extern const KernelSet kAvx512VnniKernels;
#elif defined(__aarch64__)
extern const KernelSet kNeonDotprodKernels;
extern const KernelSet kNeonI8mmKernels;
#endif

}  // namespace salient::kernels
