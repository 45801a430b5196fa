#include "runner/weight_bytes.h"

namespace salient::runner {

uint64_t weight_bytes(const model::Decoder& decoder, HeadPrecision head, ZeroPoints zero_points) {
  const checkpoint::Checkpoint& checkpoint = decoder.checkpoint();
  const auto grouped = [](uint64_t elements, int bits, int group_size, uint64_t group_bytes) {
    return elements * static_cast<uint64_t>(bits) / 8 + elements / static_cast<uint64_t>(group_size) * group_bytes;
  };
  const auto linear = [&](const std::string& name, int64_t rows, int64_t columns) {
    const auto elements = static_cast<uint64_t>(rows * columns);
    if (const auto found = checkpoint.quantized.find(name); found != checkpoint.quantized.end()) {
      const uint64_t number_bytes = found->second.half_numbers ? 2 : 4;
      const bool has_bytes = zero_points == ZeroPoints::kByte && found->second.read_rows(0, 1).offsets.empty();
      const uint64_t zero_bytes = has_bytes ? 1 : number_bytes;
      return grouped(elements, found->second.bits, found->second.group_size, number_bytes + zero_bytes);
    }
    const core::DType dtype = checkpoint.matrix(name + ".weight", rows, columns).dtype;
    return elements * static_cast<uint64_t>(core::info_of(dtype).block_bytes);
  };
  const model::DecoderSpec& spec = decoder.spec();
  const auto rounded_head = choose_head_groups(decoder, head);
  const uint64_t rounded_group_bytes = zero_points == ZeroPoints::kByte ? 3 : 4;  // with a scale in fp16
  uint64_t bytes = rounded_head ? grouped(static_cast<uint64_t>(spec.vocab_size * spec.hidden_size), rounded_head->bits,
                                          rounded_head->size, rounded_group_bytes)
                                : linear(spec.tied_embeddings ? model::kEmbeddingsName : model::kHeadName,
                                         spec.vocab_size, spec.hidden_size);
  for (int64_t i = 0; i < spec.layers; ++i) {
    for (const model::LinearSlot& slot : model::linear_slots(spec)) {
      // A linear that is stored with others counts once.
      if (slot.first_row > 0) continue;
      bytes += linear(model::layer_prefix(i) + slot.name, slot.stored_rows, slot.in_features);
    }
  }
  return bytes;
}

}  // namespace salient::runner
