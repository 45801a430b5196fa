#include "hub/cache.h"

#include <gtest/gtest.h>

#include "tests/support/temporary_folder.h"

namespace salient::hub {
namespace {

namespace fs = std::filesystem;

const std::string kCommit(40, 'c');

class CacheTest : public testing::Test {
 protected:
  /// Adds a file as huggingface_hub lays it out: the content in blobs, a relative link in the snapshot.
  void add(const std::string& path, const std::string& content, const std::string& etag) {
    const fs::path blobs = folder_.path() / "models--o--n" / "blobs";
    fs::create_directories(blobs);
    tests::write_text(blobs / etag, content);
    const fs::path name = folder_.path() / "models--o--n" / "snapshots" / kCommit / path;
    fs::create_directories(name.parent_path());
    fs::create_symlink((blobs / etag).lexically_relative(name.parent_path()), name);
  }
  void add_ref(const std::string& revision, const std::string& commit) {
    const fs::path ref = folder_.path() / "models--o--n" / "refs" / revision;
    fs::create_directories(ref.parent_path());
    tests::write_text(ref, commit);
  }
  std::string found(const std::string& text) {
    const auto model = find_in_cache(*parse_model_name(text), "cpu", folder_.path());
    return model ? model->path.lexically_relative(folder_.path() / "models--o--n" / "snapshots" / kCommit).string()
                 : "none";
  }

  tests::TemporaryFolder folder_;
};

TEST_F(CacheTest, FindsWhatOtherProgramsHaveBroughtThere) {
  EXPECT_EQ(found("o/n"), "none");
  add("config.json", R"({"quantization_config": {"quant_method": "awq"}})", "e1");
  add("model.safetensors", "weights", "e2");
  EXPECT_EQ(found("o/n"), "none") << "no revision is known";
  EXPECT_EQ(found("o/n@" + kCommit), ".");
  add_ref("main", kCommit);
  add_ref("refs/pr/1", kCommit + "\n");
  EXPECT_EQ(found("o/n"), ".");
  EXPECT_EQ(found("o/n@refs/pr/1"), ".");
  EXPECT_EQ(found("o/n@v2"), "none");
  EXPECT_EQ(found("o/n/sub"), "none");
  const auto models = list_cache(folder_.path());
  ASSERT_EQ(models.size(), 1u);
  EXPECT_EQ(to_string(models[0].name), "o/n");
  EXPECT_EQ(models[0].format, "awq");
  EXPECT_EQ(models[0].license, "");
  EXPECT_EQ(models[0].bytes, 7u + 48u);
}

TEST_F(CacheTest, APartOfAModelIsNone) {
  add_ref("main", kCommit);
  add("config.json", "{}", "e1");
  EXPECT_EQ(found("o/n"), "none");
  add("model-00001-of-00002.safetensors", "weights", "e2");
  EXPECT_EQ(found("o/n"), "none");
  EXPECT_TRUE(list_cache(folder_.path()).empty());
  add("model-00002-of-00002.safetensors", "weights", "e3");
  EXPECT_EQ(found("o/n"), ".");
  fs::remove(folder_.path() / "models--o--n" / "blobs" / "e2");
  EXPECT_EQ(found("o/n"), "none") << "a link leads nowhere";
}

TEST_F(CacheTest, ListsEveryModelOfARepository) {
  add_ref("main", kCommit);
  add("README.md", "---\ntags: [x]\nlicense: apache-2.0\n---\n# license: wrong\n", "e1");
  add("a.gguf", "x", "e2");
  add("b.gguf", "xy", "e3");
  add("cpu/genai_config.json", "{}", "e4");
  add("cpu/model.onnx", "xyz", "e5");
  std::vector<std::string> lines;
  for (const CachedModel& model : list_cache(folder_.path())) {
    lines.push_back(to_string(model.name) + " " + model.format + " " + model.license);
  }
  EXPECT_EQ(lines, (std::vector<std::string>{"o/n/a.gguf gguf apache-2.0", "o/n/b.gguf gguf apache-2.0",
                                             "o/n/cpu onnx apache-2.0"}));
}

TEST_F(CacheTest, PassesOverWhatIsNoModel) {
  for (const char* name : {"datasets--o--n", "models--x", "models--..--x", ".locks", "models--o--m"}) {
    fs::create_directories(folder_.path() / name / "snapshots" / kCommit);
  }
  tests::write_text(folder_.path() / "models--o--file", "x");
  EXPECT_TRUE(list_cache(folder_.path()).empty());
  EXPECT_TRUE(list_cache(folder_.path() / "none").empty());
}

TEST_F(CacheTest, LinksFilesToContents) {
  const CachedRepository repository(folder_.path(), "o/n");
  repository.make_folders();
  tests::write_text(repository.blob("e1"), "content");
  const RemoteFile file{.path = "a/b/file", .size = 7, .etag = "e1"};
  repository.link(kCommit, file);
  repository.link(kCommit, file);
  const fs::path name = repository.snapshot(kCommit) / "a" / "b" / "file";
  EXPECT_EQ(tests::read_text(name), "content");
  EXPECT_EQ(fs::read_symlink(name), fs::path("../../../../blobs/e1"));
  tests::write_text(repository.blob("e2"), "other than before");
  repository.link(kCommit, {.path = "a/b/file", .size = 17, .etag = "e2"});
  EXPECT_EQ(tests::read_text(name), "other than before");
}

TEST_F(CacheTest, NotesWhatABranchIs) {
  const CachedRepository repository(folder_.path(), "o/n");
  repository.make_folders();
  fs::create_directories(repository.snapshot(kCommit));
  repository.set_commit("refs/pr/1", kCommit);
  repository.set_commit(kCommit, kCommit);
  EXPECT_EQ(repository.commit_of("refs/pr/1"), kCommit);
  EXPECT_EQ(tests::read_text(folder_.path() / "models--o--n" / "refs" / "refs" / "pr" / "1"), kCommit);
  EXPECT_FALSE(fs::exists(folder_.path() / "models--o--n" / "refs" / kCommit));
}

}  // namespace
}  // namespace salient::hub
