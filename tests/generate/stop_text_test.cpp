#include "generate/stop_text.h"

#include <gtest/gtest.h>

#include "core/error.h"

namespace salient::generate {
namespace {

/// What comes out for a text that is cut into pieces of this size.
std::string passed(const std::string& text, std::vector<std::string> stops, size_t size) {
  StopText stop(std::move(stops));
  std::string out;
  for (size_t i = 0; i < text.size(); i += size) out += stop.push(text.substr(i, size));
  return out + stop.finish();
}

TEST(StopText, EndsBeforeTheFirstStopHoweverTheTextIsCut) {
  const std::string text = "one END two STOP three";
  for (size_t size = 1; size <= text.size(); ++size) {
    EXPECT_EQ(passed(text, {"STOP", "END"}, size), "one ") << size;
    EXPECT_EQ(passed(text, {"STOP"}, size), "one END two ") << size;
    EXPECT_EQ(passed(text, {"none"}, size), text) << size;
    EXPECT_EQ(passed(text, {}, size), text) << size;
  }
}

TEST(StopText, FindsAStopThatBeginsAgainInsideItsOwnBeginning) {
  for (size_t size = 1; size <= 5; ++size) EXPECT_EQ(passed("aaab", {"aab"}, size), "a");
}

TEST(StopText, HoldsBackOnlyWhatMayBeAStop) {
  StopText stop({"\n\nUser:"});
  EXPECT_EQ(stop.push("a\n"), "a");
  EXPECT_EQ(stop.push("\n"), "");
  EXPECT_EQ(stop.push("b"), "\n\nb");
  EXPECT_FALSE(stop.stopped());
  EXPECT_EQ(stop.push("c\n\nUser: d"), "c");
  EXPECT_TRUE(stop.stopped());
  EXPECT_EQ(stop.push("more"), "");
  EXPECT_EQ(stop.finish(), "");
}

TEST(StopText, RefusesAnEmptyStop) {
  EXPECT_THROW(StopText({""}), core::Error);
}

}  // namespace
}  // namespace salient::generate
