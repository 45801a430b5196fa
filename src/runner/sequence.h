#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

namespace salient::runner {

/// Hands out the pages in which a device keeps keys and values; a page holds `page_tokens` positions of all layers.
/// Several sequences may hold one page, as long as none of them writes into it. Any thread may let go of pages, so that
/// a sequence may end while others are computed; all else is for one thread at a time.
class PagePool {
 public:
  virtual ~PagePool() = default;
  virtual int64_t page_tokens() const = 0;

  /// A page with one holder. Throws out_of_memory.
  int32_t allocate();
  /// Counts one more holder.
  void retain(int32_t page);
  /// Counts one holder less; the page is free when that was the last.
  void release(int32_t page) noexcept;
  /// A page of this content with no other holder, for one who lets go of `page` for it: the page itself where nobody
  /// else holds it, else a copy. Throws out_of_memory.
  int32_t make_private(int32_t page);

  bool is_shared(int32_t page) const;
  /// Pages that somebody holds; what several hold counts once.
  int64_t pages_in_use() const;

 protected:
  /// Makes one more page; ids are 0, 1, 2, ... in this order. Throws out_of_memory.
  virtual void add_page() = 0;
  virtual void copy_page(int32_t from, int32_t to) = 0;

 private:
  mutable std::mutex mutex_;
  std::vector<int32_t> holders_;  ///< by page
  std::vector<int32_t> free_;
};

/// The tokens a runner has seen of one text: how many, and the pages that hold their keys and values. Pages
/// may be shared with other sequences: one is copied before it is written into.
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
  const std::shared_ptr<PagePool>& pool() const { return pool_; }

  /// Makes an empty sequence one of `length` tokens whose keys and values are in pages that others hold.
  void attach(std::span<const int32_t> pages, int64_t length);
  /// Pages that `extend(tokens)` would take from the pool.
  int64_t pages_to_extend(int64_t tokens) const;

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
