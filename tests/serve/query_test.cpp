#include "serve/query.h"

#include <gtest/gtest.h>

namespace salient::serve {
namespace {

using Fields = std::map<std::string, std::string>;

TEST(Query, HasFields) {
  EXPECT_EQ(parse_query(""), Fields{});
  EXPECT_EQ(parse_query("a=1&b=x%20y+z&c&d=1=2"), (Fields{{"a", "1"}, {"b", "x y z"}, {"c", ""}, {"d", "1=2"}}));
  EXPECT_EQ(parse_query("&&a=1&a=2&"), (Fields{{"a", "2"}}));
  EXPECT_EQ(parse_query("q=1%2B1%26"), (Fields{{"q", "1+1&"}}));
}

TEST(PercentDecoded, LeavesWhatIsNoEscape) {
  EXPECT_EQ(percent_decoded("%e7%8c%AB"), "猫");
  EXPECT_EQ(percent_decoded("100%"), "100%");
  EXPECT_EQ(percent_decoded("%4"), "%4");
  EXPECT_EQ(percent_decoded("%zz%-1%+1% 1"), "%zz%-1%+1% 1");
  EXPECT_EQ(percent_decoded("%2541"), "%41") << "once";
}

}  // namespace
}  // namespace salient::serve
