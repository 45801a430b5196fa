#pragma once

#include <cstdint>
#include <span>
#include <variant>
#include <vector>

#include "core/buffer.h"
#include "core/tensor.h"
#include "core/thread_pool.h"
#include "kernels/kernels.h"

namespace salient::runner {

/// How quantized weights are multiplied: with activations rounded to int8 (fast), or dequantized to fp32 (exact; for
/// measuring what int8 activations cost).
enum class Activations { kInt8, kFp32 };

/// A linear layer packed for the kernels.
class CpuLinear {
 public:
  CpuLinear(const core::LinearWeights& weights, Activations activations, core::ThreadPool& pool);

  int64_t out_features() const { return out_features_; }
  int64_t in_features() const { return in_features_; }
  int64_t tiles() const { return (out_features_ + kernels::kLanes - 1) / kernels::kLanes; }
  /// The group size activations must be rounded in; 0 when this linear takes them in fp32.
  int group_size() const { return group_size_; }
  /// Bytes read for one token.
  int64_t packed_bytes() const;

  /// y = W x + bias for the rows of some tiles. `rounded` is only looked at when group_size() is not 0.
  void multiply(int64_t first_tile, int64_t end_tile, const float* x, const kernels::Int8Activations& rounded,
                int64_t tokens, float* y, int64_t y_stride) const;

 private:
  void pack_dense(const core::LinearWeights& weights, core::DType dtype, core::ThreadPool& pool);
  void pack_int4(const core::QuantizedTensor& weights, core::ThreadPool& pool);

  int64_t out_features_;
  int64_t in_features_;
  int group_size_ = 0;
  core::DType dense_dtype_ = core::DType::kF32;
  core::Buffer<std::byte> weights_;  ///< dense tiles, or int4 codes
  core::Buffer<float> scales_;
  core::Buffer<uint8_t> zeros_;
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

 private:
  const kernels::Int8Activations& round(const float* x, int64_t tokens, int64_t columns, int group_size);

  /// One input rounded in groups of one size.
  struct Rounded {
    int group_size = 0;
    core::Buffer<int8_t> values;
    core::Buffer<float> scales;
    core::Buffer<int32_t> sums;
    kernels::Int8Activations view{};
  };

  core::ThreadPool& pool_;
  std::vector<Rounded> rounded_;
};

}  // namespace salient::runner
