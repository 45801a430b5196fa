#include "runner/sequence.h"

#include <gtest/gtest.h>

#include <set>

namespace salient::runner {
namespace {

class CountingPool : public PagePool {
 public:
  int64_t page_tokens() const override { return 4; }
  int32_t allocate() override {
    held.insert(next);
    return next++;
  }
  void release(int32_t page) noexcept override { held.erase(page); }
  std::set<int32_t> held;
  int32_t next = 0;
};

TEST(Sequence, HoldsAsManyPagesAsItsTokensNeed) {
  auto pool = std::make_shared<CountingPool>();
  {
    Sequence sequence(pool);
    EXPECT_EQ(sequence.length(), 0);
    sequence.extend(4);
    EXPECT_EQ(sequence.pages().size(), 1u);
    sequence.extend(1);
    EXPECT_EQ(sequence.pages().size(), 2u);
    sequence.extend(10);
    EXPECT_EQ(sequence.length(), 15);
    EXPECT_EQ(pool->held.size(), 4u);
    sequence.truncate(8);
    EXPECT_EQ(pool->held.size(), 2u);
    sequence.truncate(100);
    EXPECT_EQ(sequence.length(), 8);
  }
  EXPECT_TRUE(pool->held.empty());
}

TEST(Sequence, MovesItsPages) {
  auto pool = std::make_shared<CountingPool>();
  Sequence first(pool);
  first.extend(9);
  Sequence second = std::move(first);
  EXPECT_EQ(second.length(), 9);
  Sequence third(pool);
  third.extend(1);
  third = std::move(second);
  EXPECT_EQ(third.length(), 9);
  EXPECT_EQ(pool->held.size(), 3u);
}

}  // namespace
}  // namespace salient::runner
