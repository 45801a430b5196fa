#include "hub/model_name.h"

#include <gtest/gtest.h>

#include "core/error.h"

namespace salient::hub {
namespace {

/// "repository|revision|path", or "none".
std::string parse(const std::string& text) {
  const auto name = parse_model_name(text);
  return name ? name->repository + "|" + name->revision + "|" + name->path : "none";
}

TEST(ModelName, HasARepositoryARevisionAndAPath) {
  EXPECT_EQ(parse("owner/Name-1.5_b"), "owner/Name-1.5_b|main|");
  EXPECT_EQ(parse("owner/name/a/b c"), "owner/name|main|a/b c");
  EXPECT_EQ(parse("owner/name@v1.0"), "owner/name|v1.0|");
  EXPECT_EQ(parse("owner/name@v1.0/a/model.gguf"), "owner/name|v1.0|a/model.gguf");
  EXPECT_EQ(parse("owner/name@refs/pr/7"), "owner/name|refs/pr/7|");
  EXPECT_EQ(parse("owner/name@refs/pr/7/sub"), "owner/name|refs/pr/7|sub");
  EXPECT_EQ(parse("owner/name/sub/"), "owner/name|main|sub");
}

TEST(ModelName, IsNotEveryText) {
  for (const char* text : {"",       "name",     "/a/b",     "./a/b",   "../a",  "~/a",  "a/",       "a//b",
                           "a/b//c", "a/b/../c", "a/b/c/..", "a b/c",   "a/b c", "a/b@", "a/b@../x", "a/b@refs/pr",
                           "a\\b/c", "a/b/c\\d", "C:/a",     "a/b/c:d", "a/-b",  "a/..", "a/b..c"}) {
    EXPECT_EQ(parse(text), "none") << text;
  }
}

TEST(ModelName, IsWrittenAsItIsRead) {
  for (const char* text : {"owner/name", "owner/name/a/b", "owner/name@v1", "owner/name@refs/pr/7/sub"}) {
    EXPECT_EQ(to_string(*parse_model_name(text)), text);
  }
}

TEST(RelativePath, StaysInside) {
  for (const char* path : {"a", "a/b.c", ".gitattributes", "a b/c", "\xc3\xa4/\xe6\x97\xa5"}) {
    EXPECT_NO_THROW(check_relative_path(path, "x")) << path;
  }
  for (const std::string& path :
       {std::string(), std::string("/etc/passwd"), std::string("../a"), std::string("a/../b"), std::string("a/.."),
        std::string("a/./b"), std::string("a//b"), std::string("a/"), std::string("a\\..\\b"), std::string("C:/a"),
        std::string("a\0b", 3), std::string("a\nb"), std::string(5000, 'a'), std::string(300, 'a')}) {
    EXPECT_THROW(check_relative_path(path, "x"), core::Error) << path;
  }
  try {
    check_relative_path("../a", "the list");
  } catch (const core::Error& error) {
    EXPECT_STREQ(error.what(),
                 "the list: the hub names a file \"../a\", expected a path that stays inside the model's folder");
  }
}

}  // namespace
}  // namespace salient::hub
