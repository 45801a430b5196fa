#include "generate/prefix_tree.h"

#include <gtest/gtest.h>

#include <memory>
#include <numeric>

namespace salient::generate {
namespace {

using Ids = std::vector<int32_t>;

class SmallPool : public runner::PagePool {
 public:
  int64_t page_tokens() const override { return 4; }

 protected:
  void add_page() override {}
  void copy_page(int32_t, int32_t) override {}
};

class PrefixTreeTest : public testing::Test {
 protected:
  /// Keeps a text and returns its pages, which nobody else holds.
  Ids keep(const Ids& tokens) {
    runner::Sequence sequence(pool_);
    sequence.extend(std::ssize(tokens));
    const Ids pages(sequence.pages().begin(), sequence.pages().end());
    tree_.insert(tokens, pages);
    return pages;
  }
  std::shared_ptr<SmallPool> pool_ = std::make_shared<SmallPool>();
  PrefixTree tree_{pool_};
};

TEST_F(PrefixTreeTest, FindsTheLongestBeginningByToken) {
  const Ids pages = keep({1, 2, 3, 4, 5, 6, 7, 8, 9});
  const auto match = [&](const Ids& tokens) { return tree_.find(tokens); };
  EXPECT_EQ(match({1, 2, 3, 4, 5, 6, 7, 8, 9, 10}).length, 9);
  EXPECT_EQ(match({1, 2, 3, 4, 5, 6, 7, 8, 9, 10}).pages, pages);
  EXPECT_EQ(match({1, 2, 3, 4, 5, 6, 0}).length, 6);
  EXPECT_EQ(match({1, 2, 3, 4, 5, 6, 0}).pages, Ids(pages.begin(), pages.begin() + 2));
  EXPECT_EQ(match({1, 2}).length, 2);
  EXPECT_EQ(match({2, 1}).length, 0);
  EXPECT_EQ(match({}).length, 0);
}

TEST_F(PrefixTreeTest, SharesPagesOfTextsThatBeginAlike) {
  const Ids first = keep({1, 2, 3, 4, 5, 5});
  const Ids second = keep({1, 2, 3, 4, 5, 6, 7});
  EXPECT_EQ(tree_.pages(), 3);
  EXPECT_EQ(pool_->pages_in_use(), 3);
  EXPECT_EQ(tree_.find(Ids{1, 2, 3, 4, 5, 6, 7}).pages, (Ids{first[0], second[1]}));
  EXPECT_EQ(tree_.find(Ids{1, 2, 3, 4, 5, 5, 5}).pages, (Ids{first[0], first[1]}));
}

TEST_F(PrefixTreeTest, ReplacesAPageByAFullerOne) {
  keep({1, 2, 3, 4, 5});
  const Ids fuller = keep({1, 2, 3, 4, 5, 6});
  EXPECT_EQ(tree_.pages(), 2);
  EXPECT_EQ(tree_.find(Ids{1, 2, 3, 4, 5, 6}).pages[1], fuller[1]);
  keep({1, 2, 3, 4, 5});
  EXPECT_EQ(tree_.pages(), 2);
  EXPECT_EQ(tree_.find(Ids{1, 2, 3, 4, 5, 6}).length, 6);
}

TEST_F(PrefixTreeTest, GivesUpWhatWasNotLookedForTheLongest) {
  keep({1, 2, 3, 4, 5});
  keep({6, 7});
  keep({8, 9});
  tree_.find(Ids{6, 7});
  ASSERT_TRUE(tree_.evict());
  EXPECT_EQ(tree_.find(Ids{1, 2, 3, 4, 5}).length, 4) << "leaves go first";
  tree_.find(Ids{8, 9});
  ASSERT_TRUE(tree_.evict());
  EXPECT_EQ(tree_.find(Ids{6, 7}).length, 0);
  EXPECT_EQ(tree_.find(Ids{8, 9}).length, 2);
}

TEST_F(PrefixTreeTest, GivesUpPagesInUseLast) {
  runner::Sequence used(pool_);
  used.extend(3);
  tree_.insert(Ids{1, 2, 3}, used.pages());
  keep({4, 5});
  EXPECT_EQ(tree_.unshared_pages(), 1);
  ASSERT_TRUE(tree_.evict());
  EXPECT_EQ(tree_.find(Ids{1, 2, 3}).length, 3);
  ASSERT_TRUE(tree_.evict());
  EXPECT_FALSE(tree_.evict());
  EXPECT_EQ(pool_->pages_in_use(), 1) << "the sequence has its page still";
}

}  // namespace
}  // namespace salient::generate
