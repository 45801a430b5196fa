#include "runner/sequence.h"

#include <algorithm>
#include <utility>

namespace salient::runner {

int32_t PagePool::allocate() {
  const std::lock_guard lock(mutex_);
  if (free_.empty()) {
    // First the room, so that neither release nor the count can fail once the page is there.
    free_.reserve(holders_.size() + 1);
    holders_.reserve(holders_.size() + 1);
    add_page();
    holders_.push_back(1);
    return static_cast<int32_t>(holders_.size() - 1);
  }
  const int32_t page = free_.back();
  free_.pop_back();
  holders_[page] = 1;
  return page;
}

void PagePool::retain(int32_t page) {
  const std::lock_guard lock(mutex_);
  ++holders_[page];
}

void PagePool::release(int32_t page) noexcept {
  const std::lock_guard lock(mutex_);
  if (--holders_[page] == 0) free_.push_back(page);
}

int32_t PagePool::make_private(int32_t page) {
  if (!is_shared(page)) return page;
  const int32_t copy = allocate();
  copy_page(page, copy);
  release(page);
  return copy;
}

bool PagePool::is_shared(int32_t page) const {
  const std::lock_guard lock(mutex_);
  return holders_[page] > 1;
}

int64_t PagePool::pages_in_use() const {
  const std::lock_guard lock(mutex_);
  return std::ssize(holders_) - std::ssize(free_);
}

Sequence::Sequence(Sequence&& other) noexcept
    : pool_(std::move(other.pool_)),
      pages_(std::exchange(other.pages_, {})),
      history_(std::exchange(other.history_, {})),
      length_(std::exchange(other.length_, 0)),
      long_rope_(other.long_rope_) {}

Sequence& Sequence::operator=(Sequence&& other) noexcept {
  if (this == &other) return *this;
  truncate(0);
  pool_ = std::move(other.pool_);
  pages_ = std::exchange(other.pages_, {});
  history_ = std::exchange(other.history_, {});
  length_ = std::exchange(other.length_, 0);
  long_rope_ = other.long_rope_;
  return *this;
}

void Sequence::attach(std::span<const int32_t> pages, int64_t length) {
  pages_.assign(pages.begin(), pages.end());
  for (const int32_t page : pages_) pool_->retain(page);
  length_ = length;
}

int64_t Sequence::pages_to_extend(int64_t tokens) const {
  const int64_t page_tokens = pool_->page_tokens();
  const bool copies = tokens > 0 && length_ % page_tokens != 0 && pool_->is_shared(pages_.back());
  return (length_ + tokens + page_tokens - 1) / page_tokens - std::ssize(pages_) + (copies ? 1 : 0);
}

void Sequence::extend(int64_t tokens) {
  const int64_t length = length_ + tokens;
  if (length_ % pool_->page_tokens() != 0) pages_.back() = pool_->make_private(pages_.back());
  while (std::ssize(pages_) * pool_->page_tokens() < length) {
    pages_.reserve(pages_.size() + 1);
    pages_.push_back(pool_->allocate());
  }
  length_ = length;
}

void Sequence::truncate(int64_t length) noexcept {
  length_ = std::min(length_, length);
  if (std::ssize(history_) > length_) history_.resize(length_);
  while (!pages_.empty() && (std::ssize(pages_) - 1) * pool_->page_tokens() >= length_) {
    pool_->release(pages_.back());
    pages_.pop_back();
  }
}

}  // namespace salient::runner
