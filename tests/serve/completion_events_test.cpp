#include "serve/completion_events.h"

#include <gtest/gtest.h>

namespace salient::serve {
namespace {

TEST(CompletionEvents, AreReadTogether) {
  const CompletionNews news = read_completion_events(
      "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}],"
      "\"prompt_progress\":{\"processed\":3,\"total\":9}}\n\n"
      ": ping\n\n"
      "data: {\"choices\":[{\"delta\":{\"reasoning_content\":\"hm\"},\"finish_reason\":null}]}\n\n"
      "data: {\"choices\":[{\"delta\":{\"content\":\"a\\n\\nb\"},\"finish_reason\":null}]}\n\n"
      "data: {\"choices\":[{\"delta\":{\"content\":\"c\"},\"finish_reason\":null}]}\n\n"
      "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}],\"timings\":{\"predicted_n\":2}}\n\n"
      "data: [DONE]\n\n");
  EXPECT_EQ(news.content, "a\n\nbc");
  EXPECT_EQ(news.reasoning, "hm");
  EXPECT_EQ(news.prompt_processed, 3);
  EXPECT_EQ(news.prompt_total, 9);
  EXPECT_EQ(news.finish_reason, "stop");
  EXPECT_EQ(news.timings["predicted_n"], 2);
}

TEST(CompletionEvents, MayBeNone) {
  const CompletionNews news = read_completion_events("");
  EXPECT_TRUE(news.content.empty());
  EXPECT_FALSE(news.prompt_processed);
  EXPECT_FALSE(news.finish_reason);
  EXPECT_TRUE(news.timings.is_null());
}

}  // namespace
}  // namespace salient::serve
