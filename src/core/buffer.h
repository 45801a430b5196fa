#pragma once

#include <cstddef>
#include <cstring>
#include <limits>
#include <memory>
#include <span>
#include <type_traits>

namespace salient::core {

/// Memory from the operating system in whole pages, zeroed, with huge pages asked for when it is large:
/// weights are streamed through once per token, and 4 KiB pages halve the bandwidth of that.
/// Throws out_of_memory with the size.
std::byte* allocate_pages(size_t bytes);
void free_pages(std::byte* pages, size_t bytes) noexcept;

/// A fixed-size array of plain values in such memory, aligned to a page.
template <typename T>
class Buffer {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  Buffer() = default;
  explicit Buffer(size_t size)
      : data_(reinterpret_cast<T*>(size ? allocate_pages(bytes_of(size)) : nullptr), Free{size}) {}

  T* data() { return data_.get(); }
  const T* data() const { return data_.get(); }
  size_t size() const { return data_.get_deleter().size; }
  T& operator[](size_t i) { return data_.get()[i]; }
  const T& operator[](size_t i) const { return data_.get()[i]; }
  std::span<T> span() { return {data(), size()}; }
  std::span<const T> span() const { return {data(), size()}; }

 private:
  /// The largest number stands for those that no size_t holds: nobody has that much memory either.
  static size_t bytes_of(size_t size) {
    constexpr size_t kMost = std::numeric_limits<size_t>::max();
    return size > kMost / sizeof(T) ? kMost : size * sizeof(T);
  }

  struct Free {
    size_t size = 0;
    void operator()(T* data) const noexcept { free_pages(reinterpret_cast<std::byte*>(data), size * sizeof(T)); }
  };
  std::unique_ptr<T, Free> data_;
};

}  // namespace salient::core
