#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/arena.h"
#include "core/dtype.h"
#include "kernels/kernels.h"
#include "runner/sequence.h"

namespace salient::runner {

/// Keys and values in fp32, fp16, or int8 with one scale a token and head, in pages of kernels::kPageKeys tokens. A
/// page is [layers][kv_heads][keys then values], keys and values as kernels::AttentionCache describes them.
class CpuKvCache : public PagePool {
 public:
  CpuKvCache(int64_t layers, int64_t kv_heads, int64_t head_dim, core::DType dtype);

  core::DType dtype() const { return dtype_; }
  int64_t layers() const { return layers_; }
  /// What a token takes of a page.
  int64_t bytes_per_token() const { return layers_ * kv_heads_ * 2 * numbers_per_token() * number_bytes(); }
  int64_t page_tokens() const override { return kernels::kPageKeys; }

  std::byte* page(int32_t id) { return pages_[id].data(); }
  /// Where the keys of a layer's head start in a page, in numbers; its values follow.
  int64_t key_offset(int64_t layer, int64_t head) const {
    return (layer * kv_heads_ + head) * 2 * kernels::kPageKeys * numbers_per_token();
  }
  int64_t value_offset(int64_t layer, int64_t head) const {
    return key_offset(layer, head) + kernels::kPageKeys * numbers_per_token();
  }

  /// Stores one token's key and value of all heads of a layer, kv_heads * head_dim fp32 numbers each.
  void store(std::byte* page, int64_t layer, int64_t position_in_page, const float* key, const float* value);

 protected:
  void add_page() override { pages_.push_back(arena_.allocate<std::byte>(kernels::kPageKeys * bytes_per_token())); }
  void copy_page(int32_t from, int32_t to) override;

 private:
  int64_t number_bytes() const { return core::info_of(dtype_).block_bytes; }
  /// The numbers of a key, or value; its fp16 scale counts as the int8 numbers whose room it takes.
  int64_t numbers_per_token() const {
    return dtype_ == core::DType::kI8 ? head_dim_ + static_cast<int64_t>(sizeof(uint16_t)) : head_dim_;
  }

  int64_t layers_;
  int64_t kv_heads_;
  int64_t head_dim_;
  core::DType dtype_;
  core::Arena arena_{size_t{8} << 20};
  std::vector<std::span<std::byte>> pages_;
};

}  // namespace salient::runner
