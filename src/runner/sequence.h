#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace salient::runner {

/// Hands out the pages in which a device keeps keys and values; a page holds `page_tokens` positions of all layers.
class PagePool {
 public:
  virtual ~PagePool() = default;
  virtual int64_t page_tokens() const = 0;
  /// Throws out_of_memory.
  virtual int32_t allocate() = 0;
  virtual void release(int32_t page) noexcept = 0;
};

/// The tokens a runner has seen of one text: how many, and the pages that hold their keys and values, which it owns.
class Sequence {
 public:
  explicit Sequence(std::shared_ptr<PagePool> pool) : pool_(std::move(pool)) {}
  ~Sequence() { truncate(0); }
  Sequence(Sequence&& other) noexcept;
  Sequence& operator=(Sequence&& other) noexcept;

  int64_t length() const { return length_; }
  /// The tokens themselves, where a runner remembers them because it may have to compute their keys and values again.
  const std::vector<int32_t>& history() const { return history_; }
  void remember(std::span<const int32_t> tokens) { history_.insert(history_.end(), tokens.begin(), tokens.end()); }
  /// Whether keys are turned by the frequencies for long texts (longrope). Keys of both kinds cannot be mixed: it may
  /// change only while the sequence is empty.
  bool long_rope() const { return long_rope_; }
  void set_long_rope(bool long_rope) { long_rope_ = long_rope; }
  std::span<const int32_t> pages() const { return pages_; }

  /// Makes room for `tokens` more and counts them as seen: a runner calls it before it fills them in.
  void extend(int64_t tokens);
  /// Forgets all but the first `length` tokens and gives back the pages that held only others.
  void truncate(int64_t length) noexcept;

 private:
  std::shared_ptr<PagePool> pool_;
  std::vector<int32_t> pages_;
  std::vector<int32_t> history_;
  int64_t length_ = 0;
  bool long_rope_ = false;
};

}  // namespace salient::runner
