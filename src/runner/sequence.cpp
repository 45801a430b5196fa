#include "runner/sequence.h"

#include <algorithm>
#include <utility>

namespace salient::runner {

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

void Sequence::extend(int64_t tokens) {
  const int64_t length = length_ + tokens;
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
