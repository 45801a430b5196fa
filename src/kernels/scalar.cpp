#include <cmath>
#include <limits>

#include "core/dtype.h"
#include "core/math.h"
#include "kernels/kernels.h"

namespace salient::kernels {

namespace {

/// 16 interleaved partial results are combined as a tree: lane i with lane i + 8, then + 4, + 2, + 1.
float sum_lanes(const float* lanes) {
  float sums[kLanes];
  for (int i = 0; i < kLanes; ++i) sums[i] = lanes[i];
  for (int half = kLanes / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) sums[i] += sums[i + half];
  }
  return sums[0];
}

float load(const float* weights, int64_t i) {
  return weights[i];
}

float load(const int8_t* numbers, int64_t i) {
  return static_cast<float>(numbers[i]);
}

struct Half {
  uint16_t bits;
};
struct BFloat16 {
  uint16_t bits;
};
float load(const Half* weights, int64_t i) {
  return core::half_to_float(weights[i].bits);
}
float load(const BFloat16* weights, int64_t i) {
  return core::bfloat16_to_float(weights[i].bits);
}

template <typename Weight>
void multiply_dense(const DenseTiles& weights, int64_t first_tile, int64_t end_tile, const float* x, int64_t x_stride,
                    int64_t tokens, bool accumulate, float* y, int64_t y_stride) {
  const auto* data = static_cast<const Weight*>(weights.data);
  for (int64_t tile = first_tile; tile < end_tile; ++tile) {
    for (int64_t token = 0; token < tokens; ++token) {
      for (int64_t lane = 0; lane < kLanes && tile * kLanes + lane < weights.rows; ++lane) {
        float& result = y[token * y_stride + tile * kLanes + lane];
        float sum = accumulate ? result : 0.0f;
        for (int64_t column = 0; column < weights.columns; ++column) {
          const float weight = load(data, (tile * weights.columns + column) * kLanes + lane);
          sum = std::fma(x[token * x_stride + column], weight, sum);
        }
        result = sum;
      }
    }
  }
}

/// The code of one row and column inside a tile's group.
template <int Bits>
int code_at(const uint8_t* codes, int64_t lane, int column) {
  if constexpr (Bits == 8) return codes[column / 4 * 64 + lane * 4 + column % 4];
  const uint8_t byte = codes[column / 8 * 64 + lane * 4 + column % 4];
  return column % 8 < 4 ? byte & 15 : byte >> 4;
}

float number_at(const void* numbers, bool half, int64_t index) {
  return half ? core::half_to_float(static_cast<const uint16_t*>(numbers)[index])
              : static_cast<const float*>(numbers)[index];
}

template <int Bits>
void multiply_quantized(const QuantizedTiles& weights, int64_t first_tile, int64_t end_tile, const Int8Activations& x,
                        int64_t tokens, float* y, int64_t y_stride) {
  const int64_t groups = weights.columns / weights.group_size;
  for (int64_t tile = first_tile; tile < end_tile; ++tile) {
    for (int64_t token = 0; token < tokens; ++token) {
      for (int64_t lane = 0; lane < kLanes && tile * kLanes + lane < weights.rows; ++lane) {
        float sum = 0.0f;
        for (int64_t group = 0; group < groups; ++group) {
          const int64_t index = tile * groups + group;
          const uint8_t* codes = weights.codes + index * weights.group_size * kLanes * Bits / 8;
          const int8_t* values = x.values + token * weights.columns + group * weights.group_size;
          const int32_t value_sum = x.sums[token * groups + group];
          const float x_scale = x.scales[token * groups + group];
          int32_t dot = weights.zeros ? -int32_t{weights.zeros[index * kLanes + lane]} * value_sum : 0;
          for (int k = 0; k < weights.group_size; ++k) dot += code_at<Bits>(codes, lane, k) * values[k];
          sum = std::fma(static_cast<float>(dot),
                         number_at(weights.scales, weights.half, index * kLanes + lane) * x_scale, sum);
          if (!weights.offsets) continue;
          sum = std::fma(number_at(weights.offsets, weights.half, index * kLanes + lane),
                         x_scale * static_cast<float>(value_sum), sum);
        }
        y[token * y_stride + tile * kLanes + lane] = sum;
      }
    }
  }
}

void quantize_int8(const float* x, int64_t columns, int group_size, int8_t* values, float* scales, int32_t* sums) {
  for (int64_t group = 0; group < columns / group_size; ++group) {
    const float* inputs = x + group * group_size;
    float largest = 0.0f;
    for (int i = 0; i < group_size; ++i) largest = std::fabs(inputs[i]) > largest ? std::fabs(inputs[i]) : largest;
    const float inverse = largest > 0.0f ? 127.0f / largest : 0.0f;
    int32_t sum = 0;
    for (int i = 0; i < group_size; ++i) {
      const auto value = static_cast<int8_t>(std::nearbyint(inputs[i] * inverse));
      values[group * group_size + i] = value;
      sum += value;
    }
    scales[group] = largest / 127.0f;
    sums[group] = sum;
  }
}

void rms_norm(const float* x, const float* weight, float epsilon, int64_t size, float* out) {
  float squares[kLanes] = {};
  for (int64_t i = 0; i < size; ++i) squares[i % kLanes] = std::fma(x[i], x[i], squares[i % kLanes]);
  const float mean = sum_lanes(squares) / static_cast<float>(size);
  const float inverse = 1.0f / std::sqrt(mean + epsilon);
  for (int64_t i = 0; i < size; ++i) out[i] = x[i] * inverse * weight[i];
}

void layer_norm(const float* x, const float* weight, const float* bias, float epsilon, int64_t size, float* out) {
  float sums[kLanes] = {};
  for (int64_t i = 0; i < size; ++i) sums[i % kLanes] += x[i];
  const float mean = sum_lanes(sums) / static_cast<float>(size);
  float squares[kLanes] = {};
  for (int64_t i = 0; i < size; ++i) {
    const float centred = x[i] - mean;
    squares[i % kLanes] = std::fma(centred, centred, squares[i % kLanes]);
  }
  const float inverse = 1.0f / std::sqrt(sum_lanes(squares) / static_cast<float>(size) + epsilon);
  for (int64_t i = 0; i < size; ++i) out[i] = std::fma((x[i] - mean) * inverse, weight[i], bias[i]);
}

void rotate(float* x, const float* cos, const float* sin, int64_t heads, int64_t head_dim, int64_t rotary_dim) {
  const int64_t half = rotary_dim / 2;
  for (int64_t head = 0; head < heads; ++head) {
    float* first = x + head * head_dim;
    float* second = first + half;
    for (int64_t i = 0; i < half; ++i) {
      const float a = first[i];
      const float b = second[i];
      first[i] = std::fma(a, cos[i], -(b * sin[i]));
      second[i] = std::fma(b, cos[i], a * sin[i]);
    }
  }
}

void silu(float* x, int64_t size) {
  for (int64_t i = 0; i < size; ++i) x[i] = x[i] / (1.0f + core::exp(-x[i]));
}

void gelu(float* x, int64_t size) {
  for (int64_t i = 0; i < size; ++i) {
    const float inner = std::fma(x[i] * x[i] * gelu_constants::kCubic, x[i], x[i]);
    x[i] = x[i] / (1.0f + core::exp(inner * gelu_constants::kMinusTwoRootTwoOverPi));
  }
}

void multiply(const float* y, int64_t size, float* x) {
  for (int64_t i = 0; i < size; ++i) x[i] *= y[i];
}

float capped(float x, float cap) {
  return cap * (1.0f - 2.0f / (core::exp(2.0f * (x / cap)) + 1.0f));
}

void soft_cap(float* x, int64_t size, float cap) {
  for (int64_t i = 0; i < size; ++i) x[i] = capped(x[i], cap);
}

AttentionPart no_part() {
  return {-std::numeric_limits<float>::infinity(), 0.0f, {}};
}

/// What the numbers of a page's key or value are multiplied with: int8 numbers have a scale each.
template <typename Number>
float scale_of(const Number*, int64_t, int) {
  return 1.0f;
}
template <>
float scale_of(const int8_t* numbers, int64_t head_dim, int key) {
  return core::half_to_float(reinterpret_cast<const uint16_t*>(numbers + kPageKeys * head_dim)[key]);
}

/// One page on its own. Keys are first scored, one a lane, then weighted.
template <typename Number>
AttentionPart attend_page(const AttentionRow& row, const Number* keys, const Number* values, int64_t page_start,
                          int64_t head_dim, float scale, float cap) {
  AttentionPart part = no_part();
  float scores[kPageKeys];
  for (int key = 0; key < kPageKeys; ++key) {
    const Number* block = keys + key / kLanes * kLanes * head_dim;
    float dot = 0.0f;
    for (int64_t d = 0; d < head_dim; ++d) {
      dot = std::fma(row.query[d], load(block, d * kLanes + key % kLanes), dot);
    }
    const float scaled = dot * scale_of(keys, head_dim, key) * scale;
    const float score = cap > 0 ? capped(scaled, cap) : scaled;
    const int64_t position = page_start + key;
    const bool visible = position >= row.first_key && position < row.end_key;
    scores[key] = visible ? score : -std::numeric_limits<float>::infinity();
    part.maximum = scores[key] > part.maximum ? scores[key] : part.maximum;
  }
  float sums[kLanes] = {};
  for (int key = 0; key < kPageKeys; ++key) {
    const float weight = core::exp(scores[key] - part.maximum);
    sums[key % kLanes] += weight;
    const float value_weight = weight * scale_of(values, head_dim, key);
    for (int64_t d = 0; d < head_dim; ++d) {
      part.values[d] = std::fma(value_weight, load(values, key * head_dim + d), part.values[d]);
    }
  }
  part.sum = sum_lanes(sums);
  return part;
}

void merge(const AttentionPart& part, int64_t head_dim, AttentionPart& total) {
  if (part.maximum == -std::numeric_limits<float>::infinity()) return;
  const float maximum = part.maximum > total.maximum ? part.maximum : total.maximum;
  const float old_weight = core::exp(total.maximum - maximum);
  const float new_weight = core::exp(part.maximum - maximum);
  total.maximum = maximum;
  total.sum = std::fma(total.sum, old_weight, part.sum * new_weight);
  for (int64_t d = 0; d < head_dim; ++d) {
    total.values[d] = std::fma(total.values[d], old_weight, part.values[d] * new_weight);
  }
}

template <typename Number>
void attend(const AttentionRow* rows, int64_t row_count, const AttentionCache& cache, int64_t head_dim, float scale,
            float cap) {
  for (const AttentionRow* row = rows; row < rows + row_count; ++row) {
    *row->part = no_part();
    for (int64_t page = row->first_key / kPageKeys; page * kPageKeys < row->end_key; ++page) {
      const auto* numbers = reinterpret_cast<const Number*>(cache.pages[page]);
      merge(attend_page(*row, numbers + cache.key_offset, numbers + cache.value_offset, page * kPageKeys, head_dim,
                        scale, cap),
            head_dim, *row->part);
    }
  }
}

void merge_parts(const AttentionPart* parts, int64_t count, int64_t head_dim, float* output) {
  const AttentionPart* end = parts + count;
  while (parts->maximum == -std::numeric_limits<float>::infinity()) ++parts;
  AttentionPart total = *parts;
  while (++parts < end) merge(*parts, head_dim, total);
  for (int64_t d = 0; d < head_dim; ++d) output[d] = total.values[d] / total.sum;
}

void to_half(const float* x, int64_t size, uint16_t* out) {
  constexpr float kLargest = 65504.0f;
  for (int64_t i = 0; i < size; ++i) {
    const float bounded = x[i] > -kLargest ? (x[i] < kLargest ? x[i] : kLargest) : -kLargest;
    out[i] = core::float_to_half(bounded);
  }
}

void add(const float* y, int64_t size, float* x) {
  for (int64_t i = 0; i < size; ++i) x[i] += y[i];
}

float maximum(const float* x, int64_t size) {
  float largest = x[0];
  for (int64_t i = 1; i < size; ++i) largest = x[i] > largest ? x[i] : largest;
  return largest;
}

float sum_exp(const float* x, int64_t size, float shift) {
  float sums[kLanes] = {};
  for (int64_t i = 0; i < size; ++i) sums[i % kLanes] += core::exp(x[i] - shift);
  return sum_lanes(sums);
}

float divergence(const float* p, float p_log_sum, const float* q, float q_log_sum, int64_t size) {
  float sums[kLanes] = {};
  for (int64_t i = 0; i < size; ++i) {
    const float p_log = p[i] - p_log_sum;
    const float q_log = q[i] - q_log_sum;
    sums[i % kLanes] = std::fma(core::exp(p_log), p_log - q_log, sums[i % kLanes]);
  }
  return sum_lanes(sums);
}

uint32_t sum_words(const uint32_t* words, int64_t count) {
  const int64_t quarter = count / kReadStreams;
  uint32_t sum = 0;
  for (int64_t i = 0; i < quarter; ++i) {
    for (int stream = 0; stream < kReadStreams; ++stream) sum += words[stream * quarter + i];
  }
  return sum;
}

}  // namespace

const KernelSet kScalarKernels = {
    .name = "scalar",
    .multiply_f32 = multiply_dense<float>,
    .multiply_f16 = multiply_dense<Half>,
    .multiply_bf16 = multiply_dense<BFloat16>,
    .multiply_int4 = multiply_quantized<4>,
    .multiply_int8 = multiply_quantized<8>,
    .quantize_int8 = quantize_int8,
    .rms_norm = rms_norm,
    .layer_norm = layer_norm,
    .rotate = rotate,
    .silu = silu,
    .gelu = gelu,
    .multiply = multiply,
    .soft_cap = soft_cap,
    .attend_f16 = attend<Half>,
    .attend_f32 = attend<float>,
    .attend_i8 = attend<int8_t>,
    .merge_parts = merge_parts,
    .to_half = to_half,
    .add = add,
    .maximum = maximum,
    .sum_exp = sum_exp,
    .divergence = divergence,
    .sum_words = sum_words,
};

}  // namespace salient::kernels
