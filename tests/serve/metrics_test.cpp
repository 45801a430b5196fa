#include "serve/metrics.h"

#include <gtest/gtest.h>

namespace salient::serve {
namespace {

TEST(Metrics, AHistogramIsCumulative) {
  Histogram histogram;
  histogram.count(0.005);  // a bound belongs to its bucket
  histogram.count(0.04);
  histogram.count(1000);
  const std::string text = histogram.text("x");
  EXPECT_NE(text.find("x_bucket{le=\"0.005\"} 1\n"), std::string::npos) << text;
  EXPECT_NE(text.find("x_bucket{le=\"0.03\"} 1\n"), std::string::npos) << text;
  EXPECT_NE(text.find("x_bucket{le=\"0.05\"} 2\n"), std::string::npos) << text;
  EXPECT_NE(text.find("x_bucket{le=\"60\"} 2\n"), std::string::npos) << text;
  EXPECT_NE(text.find("x_bucket{le=\"+Inf\"} 3\n"), std::string::npos) << text;
  EXPECT_NE(text.find("x_count 3\n"), std::string::npos) << text;
}

TEST(Metrics, SaysWhatModelsHaveToDo) {
  Metrics metrics;
  metrics.count_request(200);
  metrics.count_request(200);
  metrics.count_request(404);
  metrics.count_reply(1, "stop");
  ModelLoad load{"a \"model\"", {}, 123};
  load.status.running = 3;
  const std::string text = metrics.text({load});
  EXPECT_NE(text.find("salient_requests_running{model=\"a \\\"model\\\"\"} 3\n"), std::string::npos) << text;
  EXPECT_NE(text.find("salient_weight_bytes_total{model=\"a \\\"model\\\"\"} 123\n"), std::string::npos) << text;
  EXPECT_NE(text.find("salient_http_requests_total{status=\"200\"} 2\n"), std::string::npos) << text;
  EXPECT_NE(text.find("salient_replies_total{finish=\"stop\"} 1\n"), std::string::npos) << text;
}

}  // namespace
}  // namespace salient::serve
