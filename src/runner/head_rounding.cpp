#include "runner/head_rounding.h"

#include <string>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/group_grid.h"

namespace salient::runner {

namespace {

std::string head_name(const model::Decoder& decoder) {
  return decoder.spec().tied_embeddings ? model::kEmbeddingsName : model::kHeadName;
}

}  // namespace

std::optional<HeadGroups> choose_head_groups(const model::Decoder& decoder, HeadPrecision precision) {
  if (precision == HeadPrecision::kStored) return std::nullopt;
  HeadGroups groups = precision == HeadPrecision::kInt8 ? HeadGroups{8, 64} : HeadGroups{4, 32};
  const auto& quantized = decoder.checkpoint().quantized;
  if (const auto stored = quantized.find(head_name(decoder));
      stored != quantized.end() && stored->second.bits <= groups.bits) {
    return std::nullopt;
  }
  const int64_t columns = decoder.spec().hidden_size;
  constexpr int kSmallestGroup = 16;
  while (columns % groups.size != 0 && groups.size > kSmallestGroup) groups.size /= 2;
  if (columns % groups.size != 0) {
    core::fail(core::ErrorKind::kUnsupported,
               "{}: hidden_size is {}, which groups of {} do not divide: its output head cannot be rounded to int{}",
               decoder.checkpoint().path.string(), columns, groups.size, groups.bits);
  }
  return groups;
}

core::LinearWeights round_head(const model::Decoder& decoder, const HeadGroups& groups) {
  const core::LinearWeights head = decoder.head();
  const std::string name = head_name(decoder) + " of " + decoder.checkpoint().path.string();
  const core::ZeroKind zeros = groups.bits == 8 ? core::ZeroKind::kMiddle : core::ZeroKind::kInteger;
  const auto read_rows = [=](int64_t first, int64_t count) {
    core::QuantizedTensor rounded =
        core::make_rounding_target(count, head.in_features(), groups.bits, groups.size, zeros);
    std::vector<float> weights(rounded.codes.size());
    head.read_rows(first, count, weights.data());
    core::round_groups(weights, zeros, name, 0, rounded);
    return rounded;
  };
  return {core::QuantizedMatrix{head.out_features(), head.in_features(), groups.bits, groups.size,
                                /*half_numbers=*/true, read_rows},
          head.bias};
}

}  // namespace salient::runner
