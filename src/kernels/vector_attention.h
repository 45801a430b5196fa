#pragma once

#include <type_traits>

#include "kernels/vector_kernels.h"
#include "kernels/vector_statistics.h"

namespace salient::kernels {

/// The attention kernel over a vector type V, as in vector_kernels.h, and over how keys and values are stored: Fp32,
/// Fp16 or Int8 of VectorKernels. Up to V::kAttendRows rows share each load of keys and values; a row's own sums do not
/// depend on which rows it shares them with. A page of one head is too short for the processor to see a stream in it,
/// so each is asked for while the one before is computed with.
template <typename V, typename Number>
struct VectorAttention {
  using Float = typename V::Float;
  using Common = VectorKernels<V>;
  using Stored = typename Number::Stored;
  static constexpr int kBlocks = kPageKeys / kLanes;
  static constexpr bool kHasScales = std::is_same_v<Stored, int8_t>;

  /// Scales of the keys or values of a page, 16 of them from `key` on.
  static Float load_scales(const Stored* numbers, int64_t head_dim, int key) {
    return V::load_half(reinterpret_cast<const uint16_t*>(numbers + kPageKeys * head_dim) + key);
  }

  /// Asks for what is `next` in turn, as far behind its start as `offset` is behind that of what is read now.
  static void prefetch(const Stored* next, int64_t offset, int64_t count) {
    constexpr int64_t kLineNumbers = 64 / sizeof(Stored);
    for (int64_t i = 0; i < count; i += kLineNumbers) __builtin_prefetch(next + offset + i);
  }

  /// Dot products of Rows queries with V::kAttendBlocks blocks of keys, scaled. Asks for the values meanwhile.
  template <int Rows>
  static void score(const AttentionRow* rows, const Stored* keys, const Stored* values, int64_t head_dim, float scale,
                    float soft_cap, float (*scores)[kPageKeys]) {
    for (int block = 0; block < kBlocks; block += V::kAttendBlocks) {
      Float dots[Rows][V::kAttendBlocks];
      for (int r = 0; r < Rows; ++r) {
        for (int b = 0; b < V::kAttendBlocks; ++b) dots[r][b] = V::zero();
      }
      const Stored* block_keys = keys + block * kLanes * head_dim;
      for (int64_t d = 0; d < head_dim; ++d) {
        prefetch(values, (block * head_dim + V::kAttendBlocks * d) * kLanes, V::kAttendBlocks * kLanes);
        Float k[V::kAttendBlocks];
        for (int b = 0; b < V::kAttendBlocks; ++b) k[b] = Number::load(block_keys + (b * head_dim + d) * kLanes);
        for (int r = 0; r < Rows; ++r) {
          const Float q = V::broadcast(rows[r].query[d]);
          for (int b = 0; b < V::kAttendBlocks; ++b) dots[r][b] = V::fma(q, k[b], dots[r][b]);
        }
      }
      for (int r = 0; r < Rows; ++r) {
        for (int b = 0; b < V::kAttendBlocks; ++b) {
          Float score = dots[r][b];
          if constexpr (kHasScales) score = V::multiply(score, load_scales(keys, head_dim, (block + b) * kLanes));
          score = V::multiply(score, V::broadcast(scale));
          if (soft_cap > 0.0f) score = Common::capped(score, V::broadcast(soft_cap));
          V::store(scores[r] + (block + b) * kLanes, score);
        }
      }
    }
  }

  /// How the values so far and those of a page are weighted when they are merged.
  struct Merge {
    float old_weight = 0.0f;
    float new_weight = 0.0f;
    bool sees_page = false;
  };

  /// Hides the keys a row may not see, and gives the largest score of the others.
  static float mask(const AttentionRow& row, int64_t page_start, float* scores) {
    const bool sees_all = row.first_key <= page_start && row.end_key >= page_start + kPageKeys;
    if (!sees_all) {
      for (int key = 0; key < kPageKeys; ++key) {
        const int64_t position = page_start + key;
        if (position < row.first_key || position >= row.end_key) scores[key] = -__builtin_inff();
      }
    }
    return Common::maximum(scores, kPageKeys);
  }

  /// Turns the scores of all rows into weights, and merges maxima and sums into the rows' parts. A row that sees none
  /// of the page gets weights of 0 and keeps what it has. One vector holds the factors of all rows.
  template <int Rows>
  static void weigh(const AttentionRow* rows, int64_t page_start, float (*scores)[kPageKeys], Merge* merges) {
    static_assert(2 * Rows <= kLanes);
    float page_maximum[Rows] = {};
    alignas(64) float factors[kLanes] = {};
    for (int r = 0; r < Rows; ++r) {
      const int64_t first = rows[r].first_key > page_start ? rows[r].first_key : page_start;
      const int64_t end = rows[r].end_key < page_start + kPageKeys ? rows[r].end_key : page_start + kPageKeys;
      merges[r].sees_page = first < end;
      if (!merges[r].sees_page) continue;
      page_maximum[r] = mask(rows[r], page_start, scores[r]);
      AttentionPart& part = *rows[r].part;
      const float maximum = page_maximum[r] > part.maximum ? page_maximum[r] : part.maximum;
      factors[r] = part.maximum - maximum;
      factors[Rows + r] = page_maximum[r] - maximum;
      part.maximum = maximum;
    }
    V::store(factors, Common::exp(V::load(factors)));
    for (int r = 0; r < Rows; ++r) {
      Float sums = V::zero();
      for (int key = 0; key < kPageKeys; key += kLanes) {
        if (!merges[r].sees_page) {
          V::store(scores[r] + key, V::zero());
          continue;
        }
        const Float weights = Common::exp(V::subtract(V::load(scores[r] + key), V::broadcast(page_maximum[r])));
        V::store(scores[r] + key, weights);
        sums = V::add(sums, weights);
      }
      if (!merges[r].sees_page) continue;
      merges[r].old_weight = factors[r];
      merges[r].new_weight = factors[Rows + r];
      float& sum = rows[r].part->sum;
      sum = __builtin_fmaf(sum, merges[r].old_weight, Common::sum_lanes(sums) * merges[r].new_weight);
    }
  }

  /// Turns weights of keys into those of their values' numbers.
  static void scale_weights(const Stored* values, int64_t head_dim, float* weights) {
    for (int key = 0; key < kPageKeys; key += kLanes) {
      V::store(weights + key, V::multiply(V::load(weights + key), load_scales(values, head_dim, key)));
    }
  }

  /// Weighted values of the page's first `keys` keys, behind which no weight is above 0, for Rows rows, merged into
  /// those of their parts. Asks for the next page's keys meanwhile.
  template <int Rows, int Blocks>
  static void add_values(const AttentionRow* rows, const float (*weights)[kPageKeys], const Merge* merges, int64_t keys,
                         const Stored* values, const Stored* next_keys, int64_t head_dim, int64_t first) {
    Float sums[Rows][Blocks];
    for (int r = 0; r < Rows; ++r) {
      for (int b = 0; b < Blocks; ++b) sums[r][b] = V::zero();
    }
    for (int64_t key = 0; key < keys; ++key) {
      prefetch(next_keys, key * head_dim + first, Blocks * kLanes);
      Float v[Blocks];
      for (int b = 0; b < Blocks; ++b) v[b] = Number::load(values + key * head_dim + first + b * kLanes);
      for (int r = 0; r < Rows; ++r) {
        const Float weight = V::broadcast(weights[r][key]);
        for (int b = 0; b < Blocks; ++b) sums[r][b] = V::fma(weight, v[b], sums[r][b]);
      }
    }
    for (int r = 0; r < Rows; ++r) {
      if (!merges[r].sees_page) continue;
      for (int b = 0; b < Blocks; ++b) {
        float* total = rows[r].part->values + first + b * kLanes;
        const Float part = V::multiply(sums[r][b], V::broadcast(merges[r].new_weight));
        V::store(total, V::fma(V::load(total), V::broadcast(merges[r].old_weight), part));
      }
    }
  }

  template <int Rows>
  static void attend_rows(const AttentionRow* rows, const AttentionCache& cache, int64_t head_dim, float scale,
                          float soft_cap) {
    int64_t first_key = rows[0].first_key;
    int64_t end_key = rows[0].end_key;
    for (int r = 0; r < Rows; ++r) {
      first_key = rows[r].first_key < first_key ? rows[r].first_key : first_key;
      end_key = rows[r].end_key > end_key ? rows[r].end_key : end_key;
      rows[r].part->maximum = -__builtin_inff();
      rows[r].part->sum = 0.0f;
      for (int64_t d = 0; d < head_dim; d += kLanes) V::store(rows[r].part->values + d, V::zero());
    }
    for (int64_t page = first_key / kPageKeys; page * kPageKeys < end_key; ++page) {
      alignas(64) float weights[Rows][kPageKeys];
      Merge merges[Rows];
      const auto* numbers = reinterpret_cast<const Stored*>(cache.pages[page]);
      const Stored* values = numbers + cache.value_offset;
      const bool is_last = (page + 1) * kPageKeys >= end_key;
      const int64_t keys = is_last ? end_key - page * kPageKeys : kPageKeys;
      const auto* next_numbers = reinterpret_cast<const Stored*>(cache.pages[is_last ? page : page + 1]);
      const Stored* next_keys = next_numbers + cache.key_offset;
      score<Rows>(rows, numbers + cache.key_offset, values, head_dim, scale, soft_cap, weights);
      weigh<Rows>(rows, page * kPageKeys, weights, merges);
      if constexpr (kHasScales) {
        for (int r = 0; r < Rows; ++r) scale_weights(values, head_dim, weights[r]);
      }
      int64_t d = 0;
      for (; d + V::kAttendBlocks * kLanes <= head_dim; d += V::kAttendBlocks * kLanes) {
        add_values<Rows, V::kAttendBlocks>(rows, weights, merges, keys, values, next_keys, head_dim, d);
      }
      for (; d < head_dim; d += kLanes) {
        add_values<Rows, 1>(rows, weights, merges, keys, values, next_keys, head_dim, d);
      }
    }
  }

  /// `row_count` rows, of which there are 1 to Rows.
  template <int Rows>
  static void attend_rest(const AttentionRow* rows, int64_t row_count, const AttentionCache& cache, int64_t head_dim,
                          float scale, float soft_cap) {
    if constexpr (Rows > 1) {
      if (row_count < Rows) return attend_rest<Rows - 1>(rows, row_count, cache, head_dim, scale, soft_cap);
    }
    attend_rows<Rows>(rows, cache, head_dim, scale, soft_cap);
  }

  static void attend(const AttentionRow* rows, int64_t row_count, const AttentionCache& cache, int64_t head_dim,
                     float scale, float soft_cap) {
    for (; row_count >= V::kAttendRows; rows += V::kAttendRows, row_count -= V::kAttendRows) {
      attend_rows<V::kAttendRows>(rows, cache, head_dim, scale, soft_cap);
    }
    if (row_count > 0) attend_rest<V::kAttendRows - 1>(rows, row_count, cache, head_dim, scale, soft_cap);
  }
};

/// Merges what VectorAttention computed of parts of a context.
template <typename V>
void merge_attention_parts(const AttentionPart* parts, int64_t count, int64_t head_dim, float* output) {
  const AttentionPart* end = parts + count;
  while (parts->maximum == -__builtin_inff()) ++parts;
  float maximum = parts->maximum;
  float sum = parts->sum;
  const float* values = parts->values;
  while (++parts < end) {
    if (parts->maximum == -__builtin_inff()) continue;
    const float larger = parts->maximum > maximum ? parts->maximum : maximum;
    alignas(64) float weights[kLanes] = {maximum - larger, parts->maximum - larger};
    V::store(weights, VectorKernels<V>::exp(V::load(weights)));
    maximum = larger;
    sum = __builtin_fmaf(sum, weights[0], parts->sum * weights[1]);
    for (int64_t d = 0; d < head_dim; d += kLanes) {
      const auto added = V::multiply(V::load(parts->values + d), V::broadcast(weights[1]));
      V::store(output + d, V::fma(V::load(values + d), V::broadcast(weights[0]), added));
    }
    values = output;
  }
  for (int64_t d = 0; d < head_dim; d += kLanes) {
    V::store(output + d, V::divide(V::load(values + d), V::broadcast(sum)));
  }
}

/// The set of kernels of one vector type.
template <typename V>
constexpr KernelSet make_kernel_set(const char* name) {
  using K = VectorKernels<V>;
  using Statistics = VectorStatistics<V>;
  return {
      .name = name,
      .multiply_f32 = K::template multiply_dense<typename K::Fp32>,
      .multiply_f16 = K::template multiply_dense<typename K::Fp16>,
      .multiply_bf16 = K::template multiply_dense<typename K::Bf16>,
      .multiply_int4 = K::template multiply_quantized<4>,
      .multiply_int8 = K::template multiply_quantized<8>,
      .quantize_int8 = K::quantize_int8,
      .rms_norm = K::rms_norm,
      .layer_norm = K::layer_norm,
      .rotate = K::rotate,
      .silu = K::silu,
      .gelu = K::gelu,
      .multiply = K::multiply,
      .soft_cap = K::soft_cap,
      .attend_f16 = VectorAttention<V, typename K::Fp16>::attend,
      .attend_f32 = VectorAttention<V, typename K::Fp32>::attend,
      .attend_i8 = VectorAttention<V, typename K::Int8>::attend,
      .merge_parts = merge_attention_parts<V>,
      .to_half = K::to_half,
      .add = K::add,
      .maximum = K::maximum,
      .sum_exp = Statistics::sum_exp,
      .divergence = Statistics::divergence,
      .sum_words = Statistics::sum_words,
  };
}

}  // namespace salient::kernels
