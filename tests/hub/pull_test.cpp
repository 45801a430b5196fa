#include "hub/pull.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "core/file_lock.h"
#include "tests/support/http_server.h"
#include "tests/support/temporary_folder.h"

namespace salient::hub {
namespace {

namespace fs = std::filesystem;
using tests::http_answer;
using tests::HttpServer;

const std::string kCommit(40, 'c');
const std::string kText = "0123456789";
const std::string kSha256 = "84d89877f0d4041efb6bf91a16f0248f2fd573e6af05c19f96bedb9f882f7882";  // of kText
// git hash-object of a file that holds kText.
const std::string kGitId = "ad471007bd7f5983d273b9584e5629230150fd54";

std::string information() {
  return http_answer("200 OK", R"({"sha": ")" + kCommit + R"("})");
}

/// A list of one GGUF file of kText.
std::string tree(const std::string& fields) {
  return http_answer("200 OK", R"([{"type": "file", "path": "m.gguf", "size": 10)" + fields + "}]");
}

std::string lfs_tree() {
  return tree(R"(, "lfs": {"size": 10, "oid": ")" + kSha256 + R"("})");
}

class PullTest : public testing::Test {
 protected:
  void SetUp() override {
    for (const char* name : {"http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"}) ::unsetenv(name);
    settings_.cache = folder_.path() / "hub";
  }

  /// "done", or the error's kind and sentence.
  std::string pull_from(const HttpServer& server, std::stop_token stop = {}) {
    settings_.endpoint = server.endpoint();
    try {
      const PullPlan plan = plan_pull({"o/n", "main", "m.gguf"}, "cpu", settings_, {});
      missing_bytes_ = plan.missing_bytes;
      path_ = pull(plan, settings_, {}, stop).path;
      return "done";
    } catch (const core::Error& error) {
      return std::string(core::name_of(error.kind())) + ": " + error.what();
    }
  }
  void write_incomplete(const std::string& content) {
    cached().make_folders();
    tests::write_text(cached().incomplete(kSha256), content);
  }
  CachedRepository cached() const { return {settings_.cache, "o/n"}; }

  tests::TemporaryFolder folder_;
  Settings settings_;
  fs::path path_;
  uint64_t missing_bytes_ = 0;
};

TEST_F(PullTest, PutsAFileWhereTheHubsProgramsLookForIt) {
  const HttpServer server({information(), lfs_tree(), http_answer("200 OK", kText)});
  EXPECT_EQ(pull_from(server), "done");
  EXPECT_EQ(path_, settings_.cache / "models--o--n" / "snapshots" / kCommit / "m.gguf");
  EXPECT_EQ(tests::read_text(path_), kText);
  EXPECT_EQ(tests::read_text(settings_.cache / "models--o--n" / "blobs" / kSha256), kText);
  EXPECT_EQ(tests::read_text(settings_.cache / "models--o--n" / "refs" / "main"), kCommit);
  EXPECT_FALSE(fs::exists(cached().incomplete(kSha256)));
  EXPECT_EQ(missing_bytes_, 10u);
  EXPECT_TRUE(server.requests()[2].starts_with("GET /o/n/resolve/" + kCommit + "/m.gguf "));
}

TEST_F(PullTest, GoesOnWithWhatIsThere) {
  write_incomplete("0123");
  const HttpServer server(
      {information(), lfs_tree(), http_answer("206 Partial Content", "456789", "Content-Range: bytes 4-9/10\r\n")});
  EXPECT_EQ(pull_from(server), "done");
  EXPECT_EQ(tests::read_text(path_), kText);
  EXPECT_EQ(missing_bytes_, 6u);
}

TEST_F(PullTest, AsksForNothingWhenOnlyTheNameIsMissing) {
  write_incomplete(kText);
  const HttpServer server({information(), lfs_tree()});
  EXPECT_EQ(pull_from(server), "done");
  EXPECT_EQ(server.requests().size(), 2u);
}

TEST_F(PullTest, StartsAgainWhenWhatWasThereIsWrong) {
  write_incomplete("abcd");
  const HttpServer server({information(), lfs_tree(),
                           http_answer("206 Partial Content", "456789", "Content-Range: bytes 4-9/10\r\n"),
                           http_answer("200 OK", kText)});
  EXPECT_EQ(pull_from(server), "done");
  EXPECT_EQ(tests::read_text(path_), kText);
}

TEST_F(PullTest, LeavesNothingOfOtherContent) {
  const HttpServer server({information(), lfs_tree(), http_answer("200 OK", "9876543210")});
  const std::string sentence = pull_from(server);
  EXPECT_TRUE(sentence.starts_with("invalid_input: " + server.endpoint())) << sentence;
  EXPECT_TRUE(sentence.ends_with(", expected " + kSha256)) << sentence;
  EXPECT_TRUE(fs::is_empty(settings_.cache / "models--o--n" / "blobs"));
  EXPECT_TRUE(fs::is_empty(settings_.cache / "models--o--n" / "snapshots"));
  EXPECT_TRUE(fs::is_empty(settings_.cache / "models--o--n" / "refs"));
}

TEST_F(PullTest, ChecksWhatGitCallsAFile) {
  const std::string list = tree(R"(, "oid": ")" + kGitId + R"(")");
  const HttpServer wrong({information(), list, http_answer("200 OK", "9876543210")});
  EXPECT_TRUE(pull_from(wrong).ends_with(", expected " + kGitId));
  const HttpServer right({information(), list, http_answer("200 OK", kText)});
  EXPECT_EQ(pull_from(right), "done");
}

TEST_F(PullTest, AsksForTheNameOfAContentThatTheListDoesNotHave) {
  const HttpServer server(
      {information(), tree(""),
       "HTTP/1.1 200 OK\r\nX-Linked-Etag: \"" + kSha256 + "\"\r\nContent-Length: 10\r\nConnection: close\r\n\r\n",
       http_answer("200 OK", "9876543210")});
  EXPECT_TRUE(pull_from(server).ends_with(", expected " + kSha256));
  EXPECT_TRUE(server.requests()[2].starts_with("HEAD "));
}

TEST_F(PullTest, WaitsForAnotherProcessAndStopsWhenAsked) {
  cached().make_folders();
  core::FileLock other(cached().lock(kSha256));
  ASSERT_TRUE(other.try_lock());
  const HttpServer server({information(), lfs_tree(), http_answer("200 OK", kText)});
  std::stop_source source;
  source.request_stop();
  EXPECT_EQ(pull_from(server, source.get_token()),
            "cancelled: o/n/m.gguf: the download was interrupted; the next one goes on from there");
  EXPECT_EQ(server.requests().size(), 2u);
}

TEST_F(PullTest, DoesNotAskWhereTheEnvironmentForbidsIt) {
  settings_.offline = true;
  const HttpServer server({information()});
  EXPECT_EQ(pull_from(server), "not_found: o/n/m.gguf: is not whole in the cache " + settings_.cache.string() +
                                   ", and HF_HUB_OFFLINE forbids to download it");
  EXPECT_TRUE(server.requests().empty());
}

}  // namespace
}  // namespace salient::hub
