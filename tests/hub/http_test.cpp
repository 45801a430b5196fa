#include "hub/http.h"

#include <gtest/gtest.h>

#include <chrono>

#include "core/error.h"
#include "tests/support/http_server.h"
#include "tests/support/temporary_folder.h"

namespace salient::hub {
namespace {

using tests::http_answer;
using tests::HttpServer;
using namespace std::chrono_literals;

class HttpTest : public testing::Test {
 protected:
  void SetUp() override {
    for (const char* name : {"http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"}) ::unsetenv(name);
  }
  static bool has_token(const std::string& request) {
    return request.find("uthorization: Bearer secret\r\n") != std::string::npos;
  }
  const TransferOptions options_{.token = "secret", .first_wait = 0ms};
  std::string body_;
};

TEST_F(HttpTest, GivesTheBodyAndTheHeadersThatCount) {
  const HttpServer server({http_answer("200 OK", "text", "Link: <x>; rel=\"next\"\r\nETag: W/\"abc\"\r\n")});
  const TransferOutcome outcome = get_text(server.endpoint(), 4, options_, body_);
  EXPECT_TRUE(outcome.done);
  EXPECT_EQ(body_, "text");
  EXPECT_EQ(outcome.link, "<x>; rel=\"next\"");
  EXPECT_EQ(outcome.etag, "abc");
  EXPECT_TRUE(has_token(server.requests()[0]));
}

TEST_F(HttpTest, RefusesABodyThatIsTooLarge) {
  const HttpServer server({http_answer("200 OK", "texts")});
  const TransferOutcome outcome = get_text(server.endpoint(), 4, options_, body_);
  EXPECT_FALSE(outcome.done);
  EXPECT_EQ(outcome.error, "the answer is larger than 4 bytes");
}

TEST_F(HttpTest, KeepsTheTokenToTheHostItIsFor) {
  const HttpServer other({http_answer("200 OK", "there", "ETag: \"of the other\"\r\n")});
  const HttpServer server(
      {http_answer("307 Temporary Redirect", "", "Location: /here\r\n"),
       http_answer("302 Found", "", "Location: " + other.endpoint() + "/there\r\nX-Linked-Etag: \"linked\"\r\n")});
  const TransferOutcome outcome = get_text(server.endpoint(), 100, options_, body_);
  EXPECT_TRUE(outcome.done) << outcome.error;
  EXPECT_EQ(body_, "there");
  EXPECT_EQ(outcome.etag, "linked");
  ASSERT_EQ(server.requests().size(), 2u);
  EXPECT_TRUE(has_token(server.requests()[0]));
  EXPECT_TRUE(has_token(server.requests()[1])) << "a redirect on the same host still needs it";
  ASSERT_EQ(other.requests().size(), 1u);
  EXPECT_FALSE(has_token(other.requests()[0])) << other.requests()[0];
}

TEST_F(HttpTest, LeavesARedirectThatGoesRoundOrNowhere) {
  const HttpServer round({http_answer("302 Found", "", "Location: /\r\n")});
  EXPECT_EQ(get_text(round.endpoint(), 1, options_, body_).error, "the server redirects more than 10 times");
  const HttpServer nowhere({http_answer("302 Found", "")});
  EXPECT_EQ(get_text(nowhere.endpoint(), 1, options_, body_).error,
            "the server answered 302 Found without saying where to");
  const HttpServer ftp({http_answer("302 Found", "", "Location: ftp://127.0.0.1/x\r\n")});
  EXPECT_EQ(get_text(ftp.endpoint(), 1, options_, body_).error,
            "the server redirects to \"ftp://127.0.0.1/x\", expected http or https");
}

TEST_F(HttpTest, WaitsAsLongAsABusyServerAsks) {
  const HttpServer server(
      {http_answer("429 Too Many Requests", "", "Retry-After: 1\r\n"), http_answer("200 OK", "text")});
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_TRUE(get_text(server.endpoint(), 4, options_, body_).done);
  EXPECT_GE(std::chrono::steady_clock::now() - begin, 1s);
}

TEST_F(HttpTest, DoesNotWaitForHours) {
  const HttpServer server({http_answer("503 Service Unavailable", "", "Retry-After: 7200\r\n")});
  const TransferOutcome outcome = get_text(server.endpoint(), 4, options_, body_);
  EXPECT_EQ(outcome.error, "the server answered 503 Service Unavailable and asks to come back in 7200 seconds");
  EXPECT_EQ(server.requests().size(), 1u);
  const HttpServer date({http_answer("503 Service Unavailable", "", "Retry-After: Wed, 21 Oct 2065 07:28:00 GMT\r\n")});
  EXPECT_NE(get_text(date.endpoint(), 4, options_, body_).error.find("asks to come back in"), std::string::npos);
}

TEST_F(HttpTest, LeavesAServerThatSaysNothing) {
  // Promises a body and keeps the connection open: the next answers do so too.
  const HttpServer server({tests::hold_open(http_answer("200 OK", "te", "", 2))});
  TransferOptions options = options_;
  options.stall_timeout = 100ms;
  const tests::TemporaryFolder folder;
  const TransferOutcome outcome = get_file(server.endpoint(), folder.path() / "file", 4, options, {});
  EXPECT_FALSE(outcome.done);
  EXPECT_NE(outcome.error.find("bytes within 0.1 seconds"), std::string::npos) << outcome.error;
  EXPECT_EQ(server.requests().size(), 4u);
}

TEST_F(HttpTest, StopsWhileAServerSaysNothing) {
  const HttpServer server({tests::hold_open(http_answer("200 OK", "te", "", 2))});
  std::stop_source source;
  TransferOptions options = options_;
  options.stall_timeout = 24h;
  options.stop = source.get_token();
  const std::jthread stopper([&] {
    while (server.requests().empty()) std::this_thread::yield();
    source.request_stop();
  });
  EXPECT_THROW(get_text(server.endpoint(), 4, options, body_), core::Error);
}

TEST_F(HttpTest, ASizeThatDiffersIsAnError) {
  const tests::TemporaryFolder folder;
  const HttpServer server({http_answer("200 OK", "12345")});
  const TransferOutcome outcome = get_file(server.endpoint(), folder.path() / "file", 4, options_, {});
  EXPECT_EQ(outcome.error, "the server sends 5 bytes, expected 4");
}

TEST_F(HttpTest, AFileThatCannotBeWrittenIsNotTriedAgain) {
  const tests::TemporaryFolder folder;
  const HttpServer server({http_answer("200 OK", "text")});
  const TransferOutcome outcome = get_file(server.endpoint(), folder.path() / "none" / "file", 4, options_, {});
  EXPECT_TRUE(outcome.local_failure);
  EXPECT_NE(outcome.error.find("cannot be written"), std::string::npos) << outcome.error;
  EXPECT_EQ(server.requests().size(), 1u);
}

}  // namespace
}  // namespace salient::hub
