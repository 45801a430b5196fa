#include "hub/download.h"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include "core/error.h"
#include "tests/support/http_server.h"
#include "tests/support/temporary_folder.h"

namespace salient::hub {
namespace {

namespace fs = std::filesystem;
using tests::http_answer;
using tests::HttpServer;
using namespace std::chrono_literals;

const std::string kText = "0123456789";
const std::string kSha256 = "84d89877f0d4041efb6bf91a16f0248f2fd573e6af05c19f96bedb9f882f7882";  // of kText

class DownloadTest : public testing::Test {
 protected:
  void SetUp() override {
    for (const char* name : {"http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"}) ::unsetenv(name);
  }

  /// Downloads to path_ without waiting between tries; the error's kind and sentence, or "done".
  std::string fetch(const std::string& url, const std::string& sha256 = {}, const core::ProgressCallback& progress = {},
                    std::stop_token stop = {}) {
    try {
      download(url, path_, sha256, progress, {.first_wait = 0ms, .stop = stop});
      return "done";
    } catch (const core::Error& error) {
      return std::string(core::name_of(error.kind())) + ": " + error.what();
    }
  }
  static std::string content_of(const fs::path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  static void write(const fs::path& path, const std::string& content) {
    fs::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << content;
  }
  static bool has_range(const std::string& request, const std::string& range) {
    return request.find("ange: " + range + "\r\n") != std::string::npos;
  }

  tests::TemporaryFolder folder_;
  fs::path path_ = folder_.path() / "made" / "file.bin";
  fs::path partial_ = folder_.path() / "made" / "file.bin.partial";
};

TEST_F(DownloadTest, WritesTheWholeFileIntoANewFolder) {
  const HttpServer server({http_answer("200 OK", kText)});
  std::vector<std::pair<int64_t, int64_t>> reports;
  EXPECT_EQ(fetch(server.endpoint() + "/a/file.bin", kSha256,
                  [&](const core::Progress& progress) { reports.emplace_back(progress.done, progress.total); }),
            "done");
  EXPECT_EQ(content_of(path_), kText);
  EXPECT_FALSE(fs::exists(partial_));
  ASSERT_FALSE(reports.empty());
  EXPECT_EQ(reports.back(), std::pair(int64_t{10}, int64_t{10}));
  ASSERT_EQ(server.requests().size(), 1u);
  EXPECT_TRUE(server.requests()[0].starts_with("GET /a/file.bin HTTP/1.1\r\n"));
}

TEST_F(DownloadTest, TakesABodyOfUnknownLength) {
  const HttpServer server(
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
       "4\r\n0123\r\n6\r\n456789\r\n0\r\n\r\n"});
  EXPECT_EQ(fetch(server.endpoint()), "done");
  EXPECT_EQ(content_of(path_), kText);
}

TEST_F(DownloadTest, FollowsRedirects) {
  const HttpServer server({http_answer("302 Found", "", "Location: /elsewhere\r\n"), http_answer("200 OK", kText)});
  EXPECT_EQ(fetch(server.endpoint() + "/here"), "done");
  EXPECT_EQ(content_of(path_), kText);
  EXPECT_TRUE(server.requests()[1].starts_with("GET /elsewhere "));
}

TEST_F(DownloadTest, GoesOnAfterACut) {
  const HttpServer server({http_answer("200 OK", "0123", "", 6),
                           http_answer("206 Partial Content", "45", "Content-Range: bytes 4-9/10\r\n", 4),
                           http_answer("206 Partial Content", "6789", "Content-Range: bytes 6-9/10\r\n")});
  EXPECT_EQ(fetch(server.endpoint(), kSha256), "done");
  EXPECT_EQ(content_of(path_), kText);
  ASSERT_EQ(server.requests().size(), 3u);
  EXPECT_FALSE(has_range(server.requests()[0], "bytes=0-"));
  EXPECT_TRUE(has_range(server.requests()[1], "bytes=4-")) << server.requests()[1];
  EXPECT_TRUE(has_range(server.requests()[2], "bytes=6-"));
}

TEST_F(DownloadTest, GoesOnAfterACutInAChunkedBody) {
  const HttpServer server({"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n4\r\n0123\r\n",
                           http_answer("206 Partial Content", "456789", "Content-Range: bytes 4-9/10\r\n")});
  EXPECT_EQ(fetch(server.endpoint(), kSha256), "done");
  EXPECT_EQ(content_of(path_), kText);
}

TEST_F(DownloadTest, GoesOnWhereAnEarlierProgramStopped) {
  write(partial_, "01234");
  const HttpServer server({http_answer("206 Partial Content", "56789", "Content-Range: bytes 5-9/10\r\n")});
  EXPECT_EQ(fetch(server.endpoint(), kSha256), "done");
  EXPECT_TRUE(has_range(server.requests()[0], "bytes=5-"));
}

TEST_F(DownloadTest, StartsAgainWhereTheServerIgnoresRanges) {
  write(partial_, "what was here before");
  const HttpServer server({http_answer("200 OK", kText)});
  EXPECT_EQ(fetch(server.endpoint(), kSha256), "done");
  EXPECT_EQ(content_of(path_), kText);
}

TEST_F(DownloadTest, StartsAgainWhenThePartialFileIsOfNoUse) {
  write(partial_, "longer than the file is now");
  const HttpServer server({http_answer("416 Range Not Satisfiable", ""), http_answer("200 OK", kText)});
  EXPECT_EQ(fetch(server.endpoint(), kSha256), "done");
  EXPECT_EQ(content_of(path_), kText);
}

TEST_F(DownloadTest, RefusesARangeItDidNotAskFor) {
  write(partial_, "0123");
  const HttpServer server({http_answer("206 Partial Content", "89", "Content-Range: bytes 8-9/10\r\n")});
  EXPECT_EQ(
      fetch(server.endpoint()),
      "network: " + server.endpoint() +
          ": cannot be downloaded: the server answered with the range \"bytes 8-9/10\", expected one from byte 4");
  EXPECT_FALSE(fs::exists(path_));
  EXPECT_EQ(content_of(partial_), "0123");
}

TEST_F(DownloadTest, GivesUpAtOnceWhenThereIsNoSuchFile) {
  const HttpServer server({http_answer("404 Not Found", "sorry")});
  EXPECT_EQ(fetch(server.endpoint() + "/x"),
            "network: " + server.endpoint() + "/x: cannot be downloaded: the server answered 404 Not Found");
  EXPECT_EQ(server.requests().size(), 1u);
  EXPECT_TRUE(fs::is_empty(path_.parent_path()));
}

TEST_F(DownloadTest, TriesAgainWhenTheServerIsBusy) {
  const HttpServer server({http_answer("503 Service Unavailable", ""), http_answer("429 Too Many Requests", ""),
                           http_answer("200 OK", kText)});
  EXPECT_EQ(fetch(server.endpoint()), "done");
  EXPECT_EQ(content_of(path_), kText);
}

TEST_F(DownloadTest, GivesUpAfterSomeTriesAndKeepsWhatItHas) {
  const HttpServer server({http_answer("200 OK", "012", "", 7), http_answer("500 Internal Server Error", "")});
  EXPECT_EQ(fetch(server.endpoint()),
            "network: " + server.endpoint() + ": cannot be downloaded: the server answered 500 Internal Server Error");
  EXPECT_EQ(server.requests().size(), 4u);
  EXPECT_FALSE(fs::exists(path_));
  EXPECT_EQ(content_of(partial_), "012");
}

TEST_F(DownloadTest, RemovesContentWithAnotherSha256) {
  const HttpServer server({http_answer("200 OK", "9876543210")});
  const std::string sentence = fetch(server.endpoint(), kSha256);
  EXPECT_TRUE(sentence.starts_with("invalid_input: " + server.endpoint() + ": its SHA-256 is ")) << sentence;
  EXPECT_TRUE(sentence.ends_with(", expected " + kSha256)) << sentence;
  EXPECT_EQ(server.requests().size(), 1u);
  EXPECT_TRUE(fs::is_empty(path_.parent_path()));
}

TEST_F(DownloadTest, SaysThatNobodyAnswers) {
  std::string gone;
  {
    const HttpServer server({""});
    gone = server.endpoint();
  }
  EXPECT_TRUE(fetch(gone).starts_with("network: " + gone + ": cannot be downloaded: ")) << fetch(gone);
  EXPECT_TRUE(fetch("no url at all").starts_with("network: no url at all: cannot be downloaded: "));
}

TEST_F(DownloadTest, StopsWhenItIsAskedTo) {
  const HttpServer server({http_answer("200 OK", std::string(1 << 20, 'x'), "", 1)});
  std::stop_source source;
  EXPECT_EQ(fetch(
                server.endpoint(), "", [&](const core::Progress&) { source.request_stop(); }, source.get_token()),
            "cancelled: " + server.endpoint() + ": the download was interrupted");
  EXPECT_EQ(server.requests().size(), 1u);
  EXPECT_FALSE(fs::exists(path_));
  EXPECT_TRUE(fs::exists(partial_)) << "the next download goes on there";
}

TEST_F(DownloadTest, StopsBetweenTwoTries) {
  const HttpServer server({http_answer("200 OK", "0123", "", 6)});
  std::stop_source source;
  const std::jthread stopper([&] {
    while (server.requests().empty()) std::this_thread::yield();
    source.request_stop();
  });
  try {
    download(server.endpoint(), path_, "", {}, {.first_wait = 24h, .stop = source.get_token()});
    ADD_FAILURE() << "done";
  } catch (const core::Error& error) {
    EXPECT_EQ(error.kind(), core::ErrorKind::kCancelled);
  }
}

TEST_F(DownloadTest, WhatTheProgressCallbackThrowsArrivesAtTheCaller) {
  const HttpServer server({http_answer("200 OK", kText)});
  const auto throwing = [](const core::Progress&) { throw std::logic_error("from the callback"); };
  EXPECT_THROW(download(server.endpoint(), path_, "", throwing, {.first_wait = 0ms}), std::logic_error);
  EXPECT_FALSE(fs::exists(path_));
}

TEST_F(DownloadTest, SaysThatTheFolderCannotBeMade) {
  write(folder_.path() / "made", "a file in the way");
  EXPECT_TRUE(fetch("http://127.0.0.1:1").starts_with("invalid_input: " + path_.parent_path().string() + ": "));
}

TEST_F(DownloadTest, ChecksSha256) {
  write(path_, kText);
  EXPECT_NO_THROW(check_sha256(path_, kSha256, "x"));
  write(path_, "");
  // The digest of nothing, from FIPS 180-4's examples.
  EXPECT_NO_THROW(check_sha256(path_, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "x"));
  EXPECT_THROW(check_sha256(path_, kSha256, "x"), core::Error);
  EXPECT_THROW(check_sha256(folder_.path() / "none", kSha256, "x"), core::Error);
}

}  // namespace
}  // namespace salient::hub
