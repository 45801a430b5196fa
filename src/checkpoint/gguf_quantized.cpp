#include "checkpoint/gguf.h"
#include "checkpoint/gguf_blocks.h"

namespace salient::checkpoint {

namespace {

/// Rows [first, first + count).
core::QuantizedTensor unpack(const StoredTensor& stored, int64_t first, int64_t count) {
  const BlockLayout layout = block_layout(stored.view.dtype);
  core::QuantizedTensor weights;
  weights.out_features = count;
  weights.in_features = stored.view.shape[1];
  weights.bits = layout.bits;
  weights.group_size = layout.group_size;
  const int64_t groups = weights.groups();
  weights.codes.resize(weights.out_features * weights.in_features);
  weights.scales.resize(weights.out_features * groups);
  if (layout.has_offsets) {
    weights.offsets.resize(weights.out_features * groups);
  } else {
    weights.zeros.assign(weights.out_features * groups, static_cast<uint8_t>(layout.zero));
  }
  const core::DTypeInfo& info = core::info_of(stored.view.dtype);
  const int64_t row_bytes = weights.in_features / info.block_elements * info.block_bytes;
  for (int64_t row = 0; row < count; ++row) {
    unpack_blocks(stored.view.dtype, stored.view.bytes.data() + stored.stored_row(first + row) * row_bytes,
                  weights.in_features,
                  {&weights.codes[row * weights.in_features], &weights.scales[row * groups],
                   layout.has_offsets ? &weights.offsets[row * groups] : nullptr});
  }
  return weights;
}

}  // namespace

void describe_gguf_linears(Checkpoint& checkpoint) {
  constexpr std::string_view kSuffix = ".weight";
  for (const auto& [name, stored] : checkpoint.tensors) {
    if (!name.ends_with(kSuffix) || stored.view.shape.size() != 2) continue;
    if (!core::is_block_quantized(stored.view.dtype)) continue;
    const BlockLayout layout = block_layout(stored.view.dtype);
    const auto read_rows = [tensor = stored](int64_t first, int64_t count) { return unpack(tensor, first, count); };
    checkpoint.quantized.emplace(name.substr(0, name.size() - kSuffix.size()),
                                 StoredQuantized{{stored.view.shape[0], stored.view.shape[1], layout.bits,
                                                  layout.group_size, layout.half_numbers, read_rows}});
  }
}

}  // namespace salient::checkpoint
