#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "model/decoder.h"
#include "model/rope_table.h"
#include "runner/vulkan/command_list.h"
#include "runner/vulkan/vulkan_kv_cache.h"
#include "runner/vulkan/vulkan_layer.h"
#include "runner/vulkan/vulkan_top_logits.h"

namespace salient::runner {

/// Consecutive tokens of one sequence inside a batch on the device.
struct VulkanSlice {
  int64_t first_row;
  int64_t tokens;
  int64_t first_position;
  bool long_rope;
  std::vector<int32_t> pages;
};

/// A decoder's weights on the device.
struct VulkanWeights {
  std::vector<VulkanLayer> layers;
  VulkanNorm final_norm;
  std::optional<VulkanLinear> head;
};

/// What comes back to the host of the rows whose logits are wanted.
struct VulkanOutput {
  int64_t top_count = 0;                                 ///< how many of the largest of each row; 0: all
  std::vector<float> logits = {};                        ///< all
  std::vector<std::vector<TokenLogit>> top_logits = {};  ///< or those, as Runner::top_logits has them
};

/// One pass of a batch through all layers and, for the rows whose logits are wanted, the head: recorded once for each
/// shape of batch, and run with one submission.
class VulkanPass {
 public:
  /// Tokens of a batch, and rows of logits that one run gives, at most.
  static constexpr int64_t kMostTokens = 512;
  static constexpr int64_t kHeadRows = 32;

  /// All that is referred to must outlive it.
  VulkanPass(const model::DecoderSpec& spec, const VulkanDevice& device, Pipelines& pipelines,
             const VulkanWeights& weights, const VulkanKvCache& cache, Activations activations);

  /// `hidden`: the batch's embeddings, [tokens, hidden_size]. `wanted`: rows in ascending order. Appends what is asked
  /// for of their logits, before any soft cap.
  void run(std::span<const VulkanSlice> slices, std::span<const float> hidden, std::span<const int64_t> wanted,
           VulkanOutput& output);

  /// What the pass of one slice moves, when all logits of its last token are wanted (0) or so many of the largest;
  /// records it and does not run it.
  Traffic count(const VulkanSlice& slice, int64_t top_count);

  /// The device's memory that a pass takes at most.
  static uint64_t most_bytes(const model::DecoderSpec& spec);

  /// Dispatches of the last run or count.
  int64_t dispatches() const { return dispatches_; }
  /// Bytes of one row that come back to the host.
  int64_t read_back_bytes(int64_t top_count) const;

 private:
  /// What a recording depends on.
  struct Shape {
    int64_t tokens = 0;
    int64_t blocks = 0;
    int64_t block_tokens = 0;
    int64_t parts = 0;
    int64_t part_keys = 0;
    int64_t page_room = 0;
    int64_t cache_generation = 0;
    std::vector<int64_t> wanted;
    int64_t top_places = 0;  ///< of each of them; 0: all logits
    bool operator==(const Shape&) const = default;
  };
  /// Where the parts of a batch's description lie in the upload, in bytes.
  struct Sections {
    uint64_t hidden = 0;
    uint64_t rows = 0;
    uint64_t blocks = 0;
    std::vector<uint64_t> angles;  ///< one a rope
    uint64_t pages = 0;
    uint64_t end = 0;
  };
  struct RopeTables {
    model::RopeTable ordinary;
    model::RopeTable extended;
  };

  Shape shape_of(std::span<const VulkanSlice> slices, std::span<const int64_t> wanted, int64_t top_count) const;
  Sections sections_of(const Shape& shape) const;
  void reserve(const Shape& shape, const Sections& sections);
  void describe(std::span<const VulkanSlice> slices, std::span<const float> hidden, const Shape& shape,
                const Sections& sections);
  void record(const Shape& shape, const Sections& sections);
  void record_layer(const VulkanLayer& layer, int64_t index, const Shape& shape, const Sections& sections);
  void record_attention(const VulkanLayer& layer, int64_t index, const Shape& shape, const Sections& sections);
  void record_norm(const DeviceSlice& x, const VulkanNorm& norm, int64_t tokens, const DeviceSlice& y, bool accumulate);
  /// Adds what a linear made of `x` to the hidden states, normalized first where the model does so.
  void record_residual(const DeviceSlice& x, const VulkanLinear& linear, const VulkanNorm& post_norm, int64_t tokens);
  void record_head(std::span<const int64_t> wanted, int64_t top_places);
  void read_rows(int64_t rows, VulkanOutput& output) const;
  int64_t members() const;  ///< query heads of a block
  int64_t member_blocks() const;

  const model::DecoderSpec& spec_;
  const VulkanDevice& device_;
  const VulkanWeights& weights_;
  const VulkanKvCache& cache_;
  std::vector<RopeTables> ropes_;
  VulkanLinearStage linears_;
  CommandList commands_;
  std::optional<Shape> recorded_;
  int64_t dispatches_ = 0;
  DeviceBuffer upload_;       ///< what the host wrote of a batch
  DeviceBuffer description_;  ///< the same on the device
  DeviceBuffer hidden_;       ///< [tokens, hidden_size]
  DeviceBuffer normed_;       ///< [tokens, hidden_size]
  DeviceBuffer query_;        ///< [tokens, heads * head_dim]
  DeviceBuffer key_;          ///< [tokens, kv_heads * head_dim]
  DeviceBuffer value_;        ///< [tokens, kv_heads * head_dim]
  DeviceBuffer parts_;        ///< of attention
  DeviceBuffer attended_;     ///< [tokens, heads * head_dim]
  DeviceBuffer projected_;    ///< [tokens, hidden_size]; with post_norms
  DeviceBuffer gate_;         ///< [tokens, intermediate_size]
  DeviceBuffer up_;           ///< [tokens, intermediate_size]
  DeviceBuffer wanted_;       ///< [kHeadRows, hidden_size]
  DeviceBuffer logits_;       ///< [kHeadRows, vocab_size]
  VulkanTopLogits top_logits_;
  DeviceBuffer read_back_;  ///< of kHeadRows rows all logits, or the largest, in the host's memory
};

}  // namespace salient::runner
