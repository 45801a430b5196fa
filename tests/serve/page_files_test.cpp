#include "serve/page_files.h"

#include <gtest/gtest.h>

#include "serve/http.h"

namespace salient::serve {
namespace {

constexpr PageFile kAsset{"/assets/a-1234.js", "text/javascript", "plain", "packed", "abc"};

HttpAnswer get(const PageFile& file, std::map<std::string, std::string> headers = {}) {
  HttpRequest request;
  request.headers = std::move(headers);
  return answer_with(file, request);
}

std::string header(const HttpAnswer& answer, const std::string& name) {
  for (const auto& [one, value] : answer.headers) {
    if (one == name) return value;
  }
  return {};
}

TEST(PageFiles, AreCompressedForWhoTakesThat) {
  for (const char* accepted : {"gzip", "br, gzip;q=0.5", "deflate,gzip", "*"}) {
    const HttpAnswer answer = get(kAsset, {{"accept-encoding", accepted}});
    EXPECT_EQ(answer.body, "packed") << accepted;
    EXPECT_EQ(header(answer, "Content-Encoding"), "gzip");
  }
  for (const char* accepted : {"", "br", "gzip;q=0", "gzip; q=0.0", "xgzip"}) {
    const HttpAnswer answer = get(kAsset, {{"accept-encoding", accepted}});
    EXPECT_EQ(answer.body, "plain") << accepted;
    EXPECT_EQ(header(answer, "Content-Encoding"), "");
  }
  EXPECT_EQ(get({"/a.woff2", "font/woff2", "plain", {}, "abc"}, {{"accept-encoding", "gzip"}}).body, "plain");
}

TEST(PageFiles, AreNotSentTwice) {
  const std::string tag = header(get(kAsset), "ETag");
  const HttpAnswer again = get(kAsset, {{"if-none-match", "\"other\", " + tag}});
  EXPECT_EQ(again.status, 304);
  EXPECT_EQ(again.body, "");
  EXPECT_EQ(get(kAsset, {{"if-none-match", "\"other\""}}).status, 200);
  EXPECT_NE(header(get(kAsset, {{"accept-encoding", "gzip"}}), "ETag"), tag) << "other bytes";
}

TEST(PageFiles, SayHowLongTheyAreGood) {
  EXPECT_NE(header(get(kAsset), "Cache-Control").find("immutable"), std::string::npos);
  EXPECT_EQ(header(get({"/index.html", "text/html", "plain", {}, "abc"}), "Cache-Control"), "no-cache");
}

TEST(PageFiles, LoadNothingFromElsewhere) {
  const std::string policy = header(get(kAsset), "Content-Security-Policy");
  EXPECT_TRUE(policy.starts_with("default-src 'none';"));
  EXPECT_EQ(policy.find("unsafe"), std::string::npos);
  EXPECT_NE(policy.find("frame-ancestors 'none'"), std::string::npos);
}

}  // namespace
}  // namespace salient::serve
