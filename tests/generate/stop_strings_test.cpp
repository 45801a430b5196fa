#include "generate/stop_strings.h"

#include <gtest/gtest.h>

#include "core/error.h"

namespace salient::generate {
namespace {

/// What comes out of a text given in pieces, each piece's part apart.
std::vector<std::string> parts(const std::vector<std::string>& strings, const std::vector<std::string>& pieces,
                               bool matched) {
  StopStrings stop(strings);
  std::vector<std::string> out;
  for (const std::string& piece : pieces) out.push_back(stop.push(piece));
  EXPECT_EQ(stop.matched(), matched);
  out.push_back(stop.finish());
  return out;
}

using Parts = std::vector<std::string>;

TEST(StopStrings, WithoutAnyEveryPieceIsCertain) {
  EXPECT_EQ(parts({}, {"a", "bc"}, false), (Parts{"a", "bc", ""}));
}

TEST(StopStrings, EndTheTextBeforeThem) {
  EXPECT_EQ(parts({"END"}, {"one END two"}, true), (Parts{"one ", ""}));
  EXPECT_EQ(parts({"END"}, {"END"}, true), (Parts{"", ""}));
}

TEST(StopStrings, AreFoundAcrossPieces) {
  EXPECT_EQ(parts({"END"}, {"one E", "N", "D two", "three"}, true), (Parts{"one ", "", "", "", ""}));
  EXPECT_EQ(parts({"aab"}, {"a", "a", "a", "b"}, true), (Parts{"", "", "a", "", ""}));
}

TEST(StopStrings, HoldBackOnlyWhatMayBeOne) {
  EXPECT_EQ(parts({"END"}, {"E", "x", "EN"}, false), (Parts{"", "Ex", "", "EN"}));
  EXPECT_EQ(parts({"\n\n"}, {"a\n", "b\n"}, false), (Parts{"a", "\nb", "\n"}));
}

TEST(StopStrings, OfSeveralTheOneThatBeginsFirstCounts) {
  EXPECT_EQ(parts({"two", "one"}, {"zero one two"}, true), (Parts{"zero ", ""}));
}

TEST(StopStrings, AreForgottenWithTheText) {
  StopStrings stop({"END"});
  stop.push("EN");
  stop.reset();
  EXPECT_EQ(stop.push("D"), "D");
  stop.push("END");
  EXPECT_TRUE(stop.matched());
  stop.reset();
  EXPECT_FALSE(stop.matched());
}

TEST(StopStrings, MustNotBeEmpty) {
  EXPECT_THROW(StopStrings({"a", ""}), core::Error);
}

}  // namespace
}  // namespace salient::generate
