#include "runner/vulkan/vulkan_layer.h"

namespace salient::runner {

namespace {

DeviceSlice upload(const std::vector<float>& values, const PackingContext& context) {
  if (values.empty()) return {};
  const DeviceSlice slice = context.arena.allocate(values.size() * sizeof(float));
  context.uploader.write(std::as_bytes(std::span(values)), slice);
  return slice;
}

/// Both norms of heads as one.
model::Norm join(const model::Norm& query, const model::Norm& key) {
  model::Norm both = query;
  both.weight.insert(both.weight.end(), key.weight.begin(), key.weight.end());
  return both;
}

std::optional<VulkanLinear> pack_gate(const core::LinearWeights& gate, const std::string& name,
                                      const PackingContext& context) {
  if (gate.out_features() == 0) return std::nullopt;
  return VulkanLinear(gate, name, context);
}

}  // namespace

VulkanNorm::VulkanNorm(const model::Norm& norm, const PackingContext& context)
    : weight(upload(norm.weight, context)), bias(upload(norm.bias, context)) {}

VulkanLayer::VulkanLayer(const model::DecoderLayer& layer, const model::LayerAttention& attention_kind,
                         const std::string& prefix, const PackingContext& context)
    : attention(attention_kind),
      attention_norm(layer.norms.attention, context),
      head_norms(join(layer.norms.query, layer.norms.key), context),
      post_attention(layer.norms.post_attention, context),
      mlp_norm(layer.norms.mlp, context),
      post_mlp(layer.norms.post_mlp, context),
      query(layer.query, prefix + "query", context),
      key(layer.key, prefix + "key", context),
      value(layer.value, prefix + "value", context),
      output(layer.output, prefix + "output", context),
      gate(pack_gate(layer.gate, prefix + "gate", context)),
      up(layer.up, prefix + "up", context),
      down(layer.down, prefix + "down", context) {}

int64_t VulkanLayer::packed_bytes() const {
  int64_t bytes = gate ? gate->packed_bytes() : 0;
  for (const VulkanLinear* linear : {&query, &key, &value, &output, &up, &down}) bytes += linear->packed_bytes();
  for (const VulkanNorm* norm : {&attention_norm, &head_norms, &post_attention, &mlp_norm, &post_mlp}) {
    bytes += static_cast<int64_t>(norm->weight.bytes + norm->bias.bytes);
  }
  return bytes;
}

}  // namespace salient::runner
