#pragma once

#include <cstdint>
#include <initializer_list>
#include <vector>

#include "core/tensor.h"
#include "core/thread_pool.h"
#include "runner/cpu_linear.h"
#include "runner/vulkan/command_list.h"
#include "runner/vulkan/device_memory.h"

namespace salient::runner {

/// How a matrix is stored on the device, in the numbers of shaders/weights.glsl.
enum class WeightKind : uint32_t { kF32 = 0, kF16 = 1, kBF16 = 2, kInt4 = 4, kInt8 = 8 };

/// Numbers of one chunk of 16 bytes.
int64_t chunk_size(WeightKind kind);

/// Whether weights are put where room was made for them; commands can be recorded, and counted, without.
enum class Weights { kUploaded, kRoomOnly };

/// What a linear is packed with.
struct PackingContext {
  const VulkanDevice& device;
  core::ThreadPool& pool;
  DeviceArena& arena;
  Uploader& uploader;
  Weights weights = Weights::kUploaded;
};

/// A linear layer on the device: rows of chunks of 16 bytes, cut into pieces that the device can bind. A chunk of int4
/// codes is four words, each with columns 8i..8i+3 in the low nibbles of its bytes and 8i+4..8i+7 in the high ones;
/// codes of 8 bits are stored less 128. Beside a group are its scale and its zero point or offset, in fp16 where that
/// holds them.
class VulkanLinear {
 public:
  /// Throws unsupported for a shape that the shaders do not take. `name` is what errors call it.
  VulkanLinear(const core::LinearWeights& weights, const std::string& name, const PackingContext& context);

  int64_t out_features() const { return out_features_; }
  int64_t in_features() const { return in_features_; }
  bool is_quantized() const { return kind_ == WeightKind::kInt4 || kind_ == WeightKind::kInt8; }
  /// Whether it can take activations in int8: no group ends within a chunk.
  bool takes_int8() const { return is_quantized() && group_size_ % chunk_size(kind_) == 0; }
  WeightKind kind() const { return kind_; }
  /// The input that each column reads, where that is another order than theirs; else empty.
  const std::vector<int32_t>& column_input() const { return column_input_; }
  const DeviceSlice& column_input_slice() const { return column_input_slice_; }
  /// Bytes read for one token.
  int64_t packed_bytes() const;
  /// Of the inputs of so many tokens, in fp32 or rounded to int8 with two numbers a block.
  int64_t input_bytes(int64_t tokens, bool rounded) const;

  /// An input as a linear takes it: fp32, or rounded to int8 with the numbers of its blocks.
  struct Input {
    DeviceSlice values;
    DeviceSlice blocks;  ///< only of int8
  };
  /// y = W x + bias, or y += W x + bias. `y_stride` is from one token's output to the next one's.
  void multiply(CommandList& commands, const Input& x, bool rounded, int64_t tokens, const DeviceSlice& y,
                bool accumulate) const;

 private:
  struct Piece {
    int64_t first_row;
    int64_t rows;
    DeviceSlice weights;
    DeviceSlice numbers;
  };

  void check_shape(const std::string& name) const;
  void pack(const core::LinearWeights& weights, const Piece& piece, const PackingContext& context) const;
  void pack_dense_rows(const core::LinearWeights& weights, int64_t first, int64_t count, std::byte* out) const;
  void pack_quantized_rows(const core::QuantizedTensor& rows, std::byte* codes, std::byte* numbers) const;
  int64_t row_bytes() const { return in_features_ / chunk_size(kind_) * 16; }
  int64_t number_bytes() const;  ///< of one row

  int64_t out_features_;
  int64_t in_features_;
  WeightKind kind_ = WeightKind::kF32;
  int64_t group_size_ = 16;
  bool half_numbers_ = true;
  bool offsets_ = false;
  std::vector<Piece> pieces_;
  std::vector<int32_t> column_input_;
  DeviceSlice column_input_slice_;
  DeviceSlice bias_;  ///< of no buffer where there is none
};

/// Runs linears that read the same input, which is put in their order and rounded where they want it.
class VulkanLinearStage {
 public:
  VulkanLinearStage(const VulkanDevice& device, Activations activations) : device_(device), activations_(activations) {}

  struct Output {
    const VulkanLinear* linear;
    DeviceSlice y;
    bool accumulate = false;
  };

  /// Makes room for this many tokens of so many features. Recordings have to be made again when it returns true.
  bool reserve(int64_t tokens, int64_t features);
  /// Begins with a barrier; the caller puts one before it reads an output.
  void run(CommandList& commands, const DeviceSlice& x, int64_t tokens, std::initializer_list<Output> outputs) const;

 private:
  bool rounds(const VulkanLinear& linear, int64_t tokens) const;
  VulkanLinear::Input prepare(CommandList& commands, const DeviceSlice& x, int64_t tokens,
                              const VulkanLinear& linear) const;

  const VulkanDevice& device_;
  Activations activations_;
  int64_t reserved_numbers_ = 0;
  DeviceBuffer ordered_;
  DeviceBuffer rounded_;
  DeviceBuffer blocks_;
};

}  // namespace salient::runner
