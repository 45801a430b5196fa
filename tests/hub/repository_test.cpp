#include "hub/repository.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "tests/support/http_server.h"

namespace salient::hub {
namespace {

using tests::http_answer;
using tests::HttpServer;
using namespace std::chrono_literals;

const std::string kCommit(40, 'c');
const std::string kInformation = R"({"sha": ")" + kCommit + R"(", "gated": false, "cardData": {"license": "mit"}})";
const std::string kGitId(40, '1');
const std::string kSha256(64, '2');

class RepositoryTest : public testing::Test {
 protected:
  void SetUp() override {
    for (const char* name : {"http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"}) ::unsetenv(name);
  }

  static Repository ask(const HttpServer& server, const std::string& token = {}) {
    Settings settings;
    settings.endpoint = server.endpoint();
    settings.token = token;
    return read_repository({"o/n", "main", ""}, settings, {.token = token, .first_wait = 0ms});
  }
  /// The error's kind and sentence, without the server's address.
  static std::string failure(const HttpServer& server, const std::string& token = {}) {
    try {
      ask(server, token);
      return "done";
    } catch (const core::Error& error) {
      std::string text = std::string(core::name_of(error.kind())) + ": " + error.what();
      for (size_t at; (at = text.find(server.endpoint())) != std::string::npos;) {
        text.replace(at, server.endpoint().size(), "HUB");
      }
      return text;
    }
  }
  static std::string failure_of_tree(const std::string& tree) {
    const HttpServer server({http_answer("200 OK", kInformation), http_answer("200 OK", tree)});
    return failure(server);
  }
  static std::string failure_of_answer(const std::string& status, const std::string& headers = {},
                                       const std::string& token = {}) {
    const HttpServer server({http_answer(status, "", headers)});
    return failure(server, token);
  }
  const std::string tree_url_ = "HUB/api/models/o/n/tree/" + kCommit + "?recursive=true";
};

TEST_F(RepositoryTest, HasTheFilesOfEveryPage) {
  const HttpServer server(
      {http_answer("200 OK", kInformation),
       http_answer("200 OK",
                   R"([{"type": "directory", "path": "a", "size": 0, "oid": "0"},)"
                   R"({"type": "file", "path": "a/b.json", "size": 3, "oid": ")" +
                       kGitId + R"("}])",
                   "Link: <https://elsewhere.invalid/api/models/o/n/tree/x?cursor=2>; rel=\"next\"\r\n"),
       http_answer("200 OK", R"([{"type": "file", "path": "w", "size": 130, "oid": ")" + kGitId +
                                 R"(", "lfs": {"oid": ")" + kSha256 + R"(", "size": 5000000000}},)" +
                                 R"({"type": "file", "path": "x", "size": 1}])")});
  const Repository repository = ask(server, "secret");
  EXPECT_EQ(repository.commit, kCommit);
  EXPECT_EQ(repository.license, "mit");
  EXPECT_FALSE(repository.gated);
  ASSERT_EQ(repository.files.size(), 3u);
  EXPECT_EQ(repository.files[0].path, "a/b.json");
  EXPECT_EQ(repository.files[0].size, 3u);
  EXPECT_EQ(repository.files[0].git_id, kGitId);
  EXPECT_EQ(repository.files[0].etag, kGitId);
  EXPECT_EQ(repository.files[1].size, 5'000'000'000u);
  EXPECT_EQ(repository.files[1].sha256, kSha256);
  EXPECT_EQ(repository.files[1].git_id, "");
  EXPECT_EQ(repository.files[2].etag, "") << "the list says nothing about it";
  const auto requests = server.requests();
  ASSERT_EQ(requests.size(), 3u);
  EXPECT_TRUE(requests[0].starts_with("GET /api/models/o/n/revision/main "));
  EXPECT_TRUE(requests[1].starts_with("GET /api/models/o/n/tree/" + kCommit + "?recursive=true "));
  EXPECT_TRUE(requests[2].starts_with("GET /api/models/o/n/tree/x?cursor=2 ")) << "the host of the link is not obeyed";
}

TEST_F(RepositoryTest, RefusesFilesThatWouldLieElsewhere) {
  for (const char* path : {"../a", "/etc/passwd", "a/../../b", "a\\\\b", "C:/a", "a\\u0000b"}) {
    const std::string tree =
        R"([{"type": "file", "size": 3, "oid": ")" + kGitId + R"(", "path": ")" + std::string(path) + R"("}])";
    EXPECT_TRUE(failure_of_tree(tree).starts_with("invalid_input: " + tree_url_ + ": the hub names a file \"")) << path;
  }
}

TEST_F(RepositoryTest, RefusesAnswersOfOtherTypes) {
  const auto tree_failure = [&](const std::string& tree) {
    const std::string text = failure_of_tree(tree);
    const std::string beginning = "invalid_input: " + tree_url_ + ": ";
    return text.starts_with(beginning) ? text.substr(beginning.size()) : text;
  };
  EXPECT_EQ(tree_failure("{"), "the hub's answer is not JSON");
  EXPECT_EQ(tree_failure("{}"), "the hub's answer is {}, expected a list of files");
  EXPECT_EQ(tree_failure("[7]"), "a file is 7, expected an object");
  EXPECT_EQ(tree_failure(R"([{"type": 1}])"), "type is 1, expected a text");
  EXPECT_EQ(tree_failure(R"([{"type": "file"}])"), "the hub's answer has no field path");
  EXPECT_EQ(tree_failure(R"([{"type": "file", "path": "a", "size": -1}])"), "size is -1, expected a number of bytes");
  EXPECT_EQ(tree_failure(R"([{"type": "file", "path": "a", "size": 1e99}])"),
            "size is 1e+99, expected a number of bytes");
  EXPECT_EQ(tree_failure(R"([{"type": "file", "path": "a", "size": 1, "oid": []}])"), "oid is [], expected a text");
  EXPECT_EQ(tree_failure(R"([{"type": "file", "path": "a", "size": 1, "oid": "../x"}])"),
            "the content of a is called \"../x\", expected a hash");
  EXPECT_EQ(tree_failure(std::string(100'000, '[')), "the hub's answer is not JSON");
  EXPECT_EQ(failure_of_tree(std::string((16 << 20) + 1, ' ')),
            "network: " + tree_url_ +
                ": cannot be downloaded: the answer is larger than 16777216 bytes; what was "
                "downloaded is kept");
  const HttpServer list({http_answer("200 OK", "[]")});
  EXPECT_EQ(failure(list),
            "invalid_input: HUB/api/models/o/n/revision/main: the hub's answer is [], expected an object");
  const HttpServer commit({http_answer("200 OK", R"({"sha": "../../x"})")});
  EXPECT_EQ(failure(commit),
            "invalid_input: HUB/api/models/o/n/revision/main: sha is \"../../x\", expected the id of a commit");
}

TEST_F(RepositoryTest, SaysWhatARefusalMeansAndWhatToDo) {
  EXPECT_EQ(failure_of_answer("401 Unauthorized", "X-Error-Code: RepoNotFound\r\n"),
            "not_found: o/n: the hub has no public model of this name (401): check the spelling at HUB/o/n; a private "
            "or gated model needs HF_TOKEN, an access token of an account that may read it");
  EXPECT_EQ(failure_of_answer("401 Unauthorized", "X-Error-Code: GatedRepo\r\n"),
            "invalid_input: o/n: is gated (401): accept its licence at HUB/o/n, then set HF_TOKEN to an access token "
            "of that account");
  EXPECT_EQ(failure_of_answer("403 Forbidden", "X-Error-Code: GatedRepo\r\n", "secret"),
            "invalid_input: o/n: the account of HF_TOKEN may not read it (403): accept its licence at HUB/o/n, and "
            "check that the token is valid and may read gated models");
  EXPECT_EQ(failure_of_answer("404 Not Found", "X-Error-Code: RevisionNotFound\r\n"),
            "not_found: o/n: has no revision main (404): see the branches and tags at HUB/o/n");
  EXPECT_EQ(failure_of_answer("404 Not Found"),
            "not_found: o/n: the hub answers that there is no HUB/api/models/o/n/revision/main (404): check the "
            "spelling at HUB/o/n");
  EXPECT_EQ(failure_of_answer("429 Too Many Requests", "Retry-After: 999\r\n"),
            "network: HUB/api/models/o/n/revision/main: the server answered 429 Too Many Requests and asks to come "
            "back in 999 seconds: it is asked too often; try again later, or set HF_TOKEN, which allows more requests");
  EXPECT_EQ(failure_of_answer("503 Service Unavailable"),
            "network: HUB/api/models/o/n/revision/main: the server answered 503 Service Unavailable: the hub is not "
            "available; try again later, what was downloaded is kept");
}

}  // namespace
}  // namespace salient::hub
