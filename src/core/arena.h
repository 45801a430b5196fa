#pragma once

#include <algorithm>
#include <cstddef>
#include <limits>
#include <span>
#include <type_traits>
#include <vector>

#include "core/buffer.h"

namespace salient::core {

/// Hands out pieces of large allocations, so that arrays too small for the system's huge pages share some. All are
/// freed at once, with the arena.
class Arena {
 public:
  explicit Arena(size_t slab_bytes = size_t{32} << 20) : slab_bytes_(slab_bytes) {}

  /// Zeros, aligned to 64 bytes. Memory that is not written to is not taken from the system.
  /// Throws out_of_memory with the size.
  template <typename T>
  std::span<T> allocate(size_t count) {
    static_assert(std::is_trivially_copyable_v<T> && alignof(T) <= kAlignment);
    constexpr size_t kMost = std::numeric_limits<size_t>::max();
    // The largest number stands for those that no size_t holds: no slab does either.
    std::byte* bytes = take(count > kMost / sizeof(T) ? kMost : count * sizeof(T));
    return {reinterpret_cast<T*>(bytes), count};
  }

 private:
  static constexpr size_t kAlignment = 64;

  std::byte* take(size_t bytes) {
    if (bytes == 0) return nullptr;
    if (slabs_.empty() || bytes > slabs_.back().size() - used_) {
      slabs_.emplace_back(std::max(slab_bytes_, bytes));
      used_ = 0;
    }
    std::byte* taken = slabs_.back().data() + used_;
    used_ = std::min(slabs_.back().size(), used_ + (bytes + kAlignment - 1) / kAlignment * kAlignment);
    return taken;
  }

  size_t slab_bytes_;
  std::vector<Buffer<std::byte>> slabs_;
  size_t used_ = 0;  ///< of the last slab
};

}  // namespace salient::core
