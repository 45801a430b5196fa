#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <variant>
#include <vector>

#include "core/arena.h"
#include "core/buffer.h"
#include "core/tensor.h"
#include "core/thread_pool.h"
#include "kernels/kernels.h"

namespace salient::runner {

/// How quantized weights are multiplied: with activations rounded to int8 (fast), or dequantized to fp32 (exact; for
/// measuring what int8 activations cost).
enum class Activations { kInt8, kFp32 };

/// A linear layer packed for the kernels, in memory of an arena, which must outlive it.
class CpuLinear {
 public:
  CpuLinear(const core::LinearWeights& weights, Activations activations, core::ThreadPool& pool, core::Arena& arena);

  int64_t out_features() const { return out_features_; }
  int64_t in_features() const { return in_features_; }
  int64_t tiles() const { return (out_features_ + kernels::kLanes - 1) / kernels::kLanes; }
  /// The group size activations must be rounded in; 0 when this linear takes them in fp32.
  int group_size() const { return group_size_; }
  /// The input that each column reads, where that is another order than theirs; else empty.
  const std::vector<int32_t>& column_input() const { return column_input_; }
  /// Bytes read for one token.
  int64_t packed_bytes() const;

  /// y = W x + bias for the rows of some tiles. `rounded` is only looked at when group_size() is not 0.
  void multiply(int64_t first_tile, int64_t end_tile, const float* x, const kernels::Int8Activations& rounded,
                int64_t tokens, float* y, int64_t y_stride) const;

 private:
  void pack_dense(const core::LinearWeights& weights, core::DType dtype, core::ThreadPool& pool, core::Arena& arena);
  void pack_quantized(const core::QuantizedMatrix& weights, core::ThreadPool& pool, core::Arena& arena);
  void pack_tiles(const core::QuantizedTensor& rows, int64_t first_tile);

  int64_t out_features_;
  int64_t in_features_;
  int group_size_ = 0;
  int bits_ = 0;
  core::DType dense_dtype_ = core::DType::kF32;
  std::span<std::byte> weights_;  ///< dense tiles, or codes
  bool half_numbers_ = false;     ///< scales and offsets are fp16, else fp32
  std::span<std::byte> scales_;
  std::span<uint8_t> zeros_;
  std::span<std::byte> offsets_;
  std::vector<int32_t> column_input_;
  std::vector<float> bias_;
};

/// Runs several linears on the same input as one stage: one barrier, tiles split evenly over the threads.
class LinearStage {
 public:
  explicit LinearStage(core::ThreadPool& pool) : pool_(pool) {}

  /// A linear, and where its output goes: rows of `y_stride` numbers, one a token.
  struct Output {
    const CpuLinear* linear;
    float* y;
    int64_t y_stride;
  };

  /// `x` is [tokens, in_features], contiguous.
  void run(const float* x, int64_t tokens, std::span<const Output> outputs);
  void run(const float* x, int64_t tokens, std::initializer_list<Output> outputs) {
    run(x, tokens, std::span(outputs.begin(), outputs.size()));
  }

 private:
  /// One input rounded in groups of one size, in one order of columns.
  struct Rounded {
    bool serves(const CpuLinear& linear) const {
      return group_size == linear.group_size() && column_input == linear.column_input();
    }
    int group_size = 0;
    std::vector<int32_t> column_input;
    core::Buffer<int8_t> values;
    core::Buffer<float> scales;
    core::Buffer<int32_t> sums;
    kernels::Int8Activations view{};
  };

  void round(const float* x, int64_t tokens, const CpuLinear& linear);
  /// Some tokens through some of the tiles of all outputs, counted one output after the other.
  void multiply(const float* x, int64_t first_token, int64_t tokens, std::span<const Output> outputs,
                int64_t first_tile, int64_t end_tile) const;

  core::ThreadPool& pool_;
  std::vector<Rounded> rounded_;
};

}  // namespace salient::runner
