#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "model/decoder.h"
#include "runner/vulkan/vulkan_linear.h"

namespace salient::runner {

/// A normalization on the device; of no buffer where the architecture does not have it.
struct VulkanNorm {
  VulkanNorm() = default;
  VulkanNorm(const model::Norm& norm, const PackingContext& context);

  bool exists() const { return static_cast<bool>(weight.buffer); }

  DeviceSlice weight;
  DeviceSlice bias;
};

/// One decoder layer on the device.
struct VulkanLayer {
  /// `prefix` is what errors call it.
  VulkanLayer(const model::DecoderLayer& layer, const model::LayerAttention& attention_kind, const std::string& prefix,
              const PackingContext& context);

  model::LayerAttention attention;
  VulkanNorm attention_norm;
  VulkanNorm head_norms;  ///< weights of queries, then of keys
  VulkanNorm post_attention;
  VulkanNorm mlp_norm;
  VulkanNorm post_mlp;
  VulkanLinear query;
  VulkanLinear key;
  VulkanLinear value;
  VulkanLinear output;
  std::optional<VulkanLinear> gate;
  VulkanLinear up;
  VulkanLinear down;

  /// Bytes read for one token.
  int64_t packed_bytes() const;
};

}  // namespace salient::runner
