#include "runner/cpu_attention.h"

#include <algorithm>
#include <memory>

namespace salient::runner {

using kernels::AttentionPart;
using kernels::kPartKeys;

namespace {

/// Queries that share a kv head and are computed together: a multiple of what the kernels take at a time.
constexpr int64_t kItemRows = 24;
/// With fewer, some threads would wait for the others' last one.
constexpr int64_t kItemsPerThread = 4;

/// Some queries of one kv head, and the parts of the context that they see.
struct Item {
  int64_t kv_head;
  int64_t first_token;  ///< of the slice
  int64_t tokens;
  int64_t first_part;
  int64_t parts;
};

/// The attention of one slice, in items.
class SliceAttention {
 public:
  SliceAttention(const model::DecoderSpec& spec, const model::LayerAttention& attention, const CpuKvCache& cache,
                 int64_t cache_layer, const BatchSlice& slice, const float* query, float* attended)
      : spec_(spec),
        window_(attention.window),
        cache_(cache),
        cache_layer_(cache_layer),
        slice_(slice),
        query_(query),
        attended_(attended),
        group_(spec.heads / spec.kv_heads),
        item_tokens_(std::max<int64_t>(kItemRows / group_, 1)),
        blocks_((slice.tokens + item_tokens_ - 1) / item_tokens_) {}

  int64_t items() const { return blocks_ * spec_.kv_heads; }
  /// Those of the last queries come first: they see the most keys, and no thread should end with a large one.
  Item item(int64_t index) const {
    const int64_t first_token = (blocks_ - 1 - index / spec_.kv_heads) * item_tokens_;
    const int64_t tokens = std::min(item_tokens_, slice_.tokens - first_token);
    const int64_t first_part = first_key(first_token) / kPartKeys;
    const int64_t last_part = (end_key(first_token + tokens - 1) - 1) / kPartKeys;
    return {index % spec_.kv_heads, first_token, tokens, first_part, last_part - first_part + 1};
  }
  int64_t rows(const Item& item) const { return item.tokens * group_; }
  int64_t max_rows() const { return item_tokens_ * group_; }
  int64_t max_parts() const {
    int64_t most = 0;
    for (int64_t block = 0; block < blocks_; ++block) most = std::max(most, item(block * spec_.kv_heads).parts);
    return most;
  }

  /// Computes one part of the context for each of the item's queries. `parts`: [rows, item.parts].
  void attend_part(const Item& item, int64_t part, AttentionPart* parts) const {
    const int64_t start = (item.first_part + part) * kPartKeys;
    std::vector<kernels::AttentionRow> rows;
    rows.reserve(static_cast<size_t>(item.tokens * group_));
    for (int64_t token = item.first_token; token < item.first_token + item.tokens; ++token) {
      const int64_t first = std::max(first_key(token), start);
      const int64_t end = std::min(end_key(token), start + kPartKeys);
      for (int64_t member = 0; member < group_; ++member) {
        rows.push_back(
            {query_ + offset(item, token, member), &parts[std::ssize(rows) * item.parts + part], first, end});
      }
    }
    const kernels::KernelSet& kernels = kernels::active_kernels();
    const auto attend = cache_.dtype() == core::DType::kI8    ? kernels.attend_i8
                        : cache_.dtype() == core::DType::kF16 ? kernels.attend_f16
                                                              : kernels.attend_f32;
    const kernels::AttentionCache view{slice_.pages.data(), cache_.key_offset(cache_layer_, item.kv_head),
                                       cache_.value_offset(cache_layer_, item.kv_head)};
    attend(rows.data(), std::ssize(rows), view, spec_.head_dim, spec_.attention_scale, spec_.attention_soft_cap);
  }

  void merge(const Item& item, const AttentionPart* parts) const {
    for (int64_t row = 0; row < rows(item); ++row) {
      float* output = attended_ + offset(item, item.first_token + row / group_, row % group_);
      kernels::active_kernels().merge_parts(parts + row * item.parts, item.parts, spec_.head_dim, output);
    }
  }

 private:
  int64_t end_key(int64_t token) const { return slice_.first_position + token + 1; }
  int64_t first_key(int64_t token) const { return window_ > 0 ? std::max<int64_t>(end_key(token) - window_, 0) : 0; }
  /// Of a query, and of its output.
  int64_t offset(const Item& item, int64_t token, int64_t member) const {
    const int64_t head = item.kv_head * group_ + member;
    return (slice_.first_row + token) * spec_.query_size() + head * spec_.head_dim;
  }

  const model::DecoderSpec& spec_;
  int64_t window_;
  const CpuKvCache& cache_;
  int64_t cache_layer_;
  const BatchSlice& slice_;
  const float* query_;
  float* attended_;
  int64_t group_;
  int64_t item_tokens_;
  int64_t blocks_;
};

}  // namespace

void AttentionStage::run(const model::LayerAttention& attention, const CpuKvCache& cache, int64_t cache_layer,
                         std::span<const BatchSlice> slices, const float* query, float* attended) {
  for (const BatchSlice& slice : slices) {
    const SliceAttention work(spec_, attention, cache, cache_layer, slice, query, attended);
    const int64_t max_parts = work.max_parts();
    if (pool_.size() == 1 || max_parts == 1 || work.items() >= kItemsPerThread * pool_.size()) {
      pool_.each(work.items(), [&](int64_t index) {
        const Item item = work.item(index);
        const auto parts = std::make_unique_for_overwrite<AttentionPart[]>(work.rows(item) * item.parts);
        for (int64_t part = 0; part < item.parts; ++part) work.attend_part(item, part, parts.get());
        work.merge(item, parts.get());
      });
      continue;
    }
    const int64_t item_size = work.max_rows() * max_parts;
    parts_.resize(std::max(parts_.size(), static_cast<size_t>(work.items() * item_size)));
    const auto parts_of = [&](int64_t index) { return parts_.data() + index * item_size; };
    pool_.each(work.items() * max_parts, [&](int64_t i) {
      const int64_t index = i / max_parts;
      const Item item = work.item(index);
      if (i % max_parts < item.parts) work.attend_part(item, i % max_parts, parts_of(index));
    });
    pool_.each(work.items(), [&](int64_t index) { work.merge(work.item(index), parts_of(index)); });
  }
}

}  // namespace salient::runner
