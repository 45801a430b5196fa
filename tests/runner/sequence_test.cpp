#include "runner/sequence.h"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

namespace salient::runner {
namespace {

/// Pages that hold one number each.
class NumberPool : public PagePool {
 public:
  int64_t page_tokens() const override { return 4; }
  std::vector<int> numbers;

 protected:
  void add_page() override { numbers.push_back(0); }
  void copy_page(int32_t from, int32_t to) override { numbers[to] = numbers[from]; }
};

TEST(Sequence, HoldsAsManyPagesAsItsTokensNeed) {
  auto pool = std::make_shared<NumberPool>();
  {
    Sequence sequence(pool);
    EXPECT_EQ(sequence.length(), 0);
    sequence.extend(4);
    EXPECT_EQ(sequence.pages().size(), 1u);
    sequence.extend(1);
    EXPECT_EQ(sequence.pages().size(), 2u);
    sequence.extend(10);
    EXPECT_EQ(sequence.length(), 15);
    EXPECT_EQ(pool->pages_in_use(), 4);
    sequence.truncate(8);
    EXPECT_EQ(pool->pages_in_use(), 2);
    sequence.truncate(100);
    EXPECT_EQ(sequence.length(), 8);
  }
  EXPECT_EQ(pool->pages_in_use(), 0);
}

TEST(Sequence, MovesItsPages) {
  auto pool = std::make_shared<NumberPool>();
  Sequence first(pool);
  first.extend(9);
  Sequence second = std::move(first);
  EXPECT_EQ(second.length(), 9);
  Sequence third(pool);
  third.extend(1);
  third = std::move(second);
  EXPECT_EQ(third.length(), 9);
  EXPECT_EQ(pool->pages_in_use(), 3);
}

TEST(Sequence, CopiesASharedPageBeforeItIsWrittenInto) {
  auto pool = std::make_shared<NumberPool>();
  Sequence first(pool);
  first.extend(6);
  pool->numbers[first.pages()[0]] = 10;
  pool->numbers[first.pages()[1]] = 11;
  Sequence second(pool);
  second.attach(first.pages(), 5);
  EXPECT_EQ(second.length(), 5);
  EXPECT_EQ(pool->pages_in_use(), 2);
  EXPECT_EQ(second.pages_to_extend(1), 1);
  second.extend(1);
  EXPECT_EQ(pool->pages_in_use(), 3);
  EXPECT_EQ(second.pages()[0], first.pages()[0]);
  ASSERT_NE(second.pages()[1], first.pages()[1]);
  EXPECT_EQ(pool->numbers[second.pages()[1]], 11);
  EXPECT_EQ(first.pages_to_extend(1), 0) << "nobody else holds its last page any more";
  first.truncate(0);
  EXPECT_EQ(pool->pages_in_use(), 2);
  second.truncate(0);
  EXPECT_EQ(pool->pages_in_use(), 0);
}

TEST(Sequence, TakesAPageOfItsOwnBehindFullSharedOnes) {
  auto pool = std::make_shared<NumberPool>();
  Sequence first(pool);
  first.extend(4);
  Sequence second(pool);
  second.attach(first.pages(), 4);
  EXPECT_EQ(second.pages_to_extend(5), 2);
  second.extend(5);
  EXPECT_EQ(second.pages()[0], first.pages()[0]);
  EXPECT_EQ(pool->pages_in_use(), 3);
}

}  // namespace
}  // namespace salient::runner
