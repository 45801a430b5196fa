#include "serve/mailbox.h"

#include <gtest/gtest.h>

namespace salient::serve {
namespace {

generate::ReplyUpdate update(const std::string& text, int64_t tokens) {
  generate::ReplyUpdate result;
  result.text = text;
  result.tokens = tokens;
  result.logprobs.resize(1);
  return result;
}

TEST(Mailbox, JoinsWhatASlowReaderLeaves) {
  int wakes = 0;
  Mailbox mailbox([&] { ++wakes; });
  EXPECT_TRUE(mailbox.take().empty());
  mailbox.put(1, update("a", 1));
  mailbox.put(0, update("x", 1));
  mailbox.put(1, update("b", 2));
  generate::ReplyUpdate last = update("c", 3);
  last.reply.emplace();
  mailbox.put(1, std::move(last));
  EXPECT_EQ(wakes, 4);
  const auto all = mailbox.take();
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all.at(0).text, "x");
  EXPECT_FALSE(all.at(0).reply);
  EXPECT_EQ(all.at(1).text, "abc");
  EXPECT_EQ(all.at(1).tokens, 3);
  EXPECT_EQ(all.at(1).logprobs.size(), 3u);
  EXPECT_TRUE(all.at(1).reply);
  EXPECT_TRUE(mailbox.take().empty());
}

}  // namespace
}  // namespace salient::serve
