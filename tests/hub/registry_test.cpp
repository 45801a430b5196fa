#include "hub/registry.h"

#include <gtest/gtest.h>

#include <set>

#include "core/error.h"
#include "hub/model_name.h"

namespace salient::hub {
namespace {

TEST(Registry, KnowsTheModelsOfTheDocumentation) {
  std::set<std::string> names;
  for (const KnownModel& model : registry().models) names.insert(model.name);
  EXPECT_EQ(names, (std::set<std::string>{"phi-3-mini-4k", "phi-3-mini-128k", "phi-3-medium-4k", "phi-3-medium-128k",
                                          "mistral-7b-v0.2", "smollm2-135m"}));
  const KnownModel* mini = find_known_model("phi-3-mini-4k");
  ASSERT_NE(mini, nullptr);
  EXPECT_EQ(mini->base, "microsoft/Phi-3-mini-4k-instruct");
  EXPECT_EQ(mini->quantized.at("dml"), "microsoft/Phi-3-mini-4k-instruct-onnx/directml/directml-int4-awq-block-128");
  EXPECT_EQ(find_known_model("phi"), nullptr);
}

TEST(Registry, NamesModelsAsTheyAreRead) {
  for (const KnownModel& model : registry().models) {
    EXPECT_FALSE(parse_model_name(model.name)) << model.name << " would be taken for a name on the hub";
    const auto base = parse_model_name(model.base);
    ASSERT_TRUE(base) << model.base;
    EXPECT_EQ(base->path, "");
    for (const auto& [device, name] : model.quantized) {
      EXPECT_TRUE(device == "cpu" || device == "dml") << device;
      const auto quantized = parse_model_name(name);
      ASSERT_TRUE(quantized) << name;
      EXPECT_NE(quantized->path, "");
    }
  }
}

TEST(Registry, SaysWhereTextsAreAndWhatTheyAreThere) {
  for (const KnownText& text : registry().texts) {
    EXPECT_FALSE(text.sources.empty());
    EXPECT_TRUE(text.sha256.empty() || text.sha256.size() == 64);
    for (const TextSource& source : text.sources) {
      EXPECT_TRUE(source.server == "hub" || source.server == "github") << source.server;
      EXPECT_TRUE(source.path.starts_with('/')) << source.path;
      EXPECT_EQ(source.path.find('{'), std::string::npos) << source.path;
      EXPECT_TRUE((std::set<std::string>{"file", "zip", "gzip", "zstd", "parquet"}.contains(source.kind)));
      EXPECT_EQ(source.kind == "zip", !source.member.empty());
      EXPECT_EQ(source.kind == "parquet", !source.column.empty());
    }
  }
}

TEST(Registry, KnowsWhichTextsAreForCalibration) {
  std::set<std::string> names;
  for (const KnownText& text : registry().texts) {
    if (text.calibration) names.insert(text.name);
  }
  EXPECT_EQ(names, (std::set<std::string>{"wikitext2-train", "pile-10k", "pileval"}));
  ASSERT_NE(find_known_text("pileval"), nullptr);
  EXPECT_EQ(find_known_text("pileval")->file, "pileval.jsonl");
  EXPECT_EQ(find_known_text("c4"), nullptr);
}

TEST(Registry, ThatIsBrokenIsAnErrorOfTheProgram) {
  for (const char* text : {"", "{}", R"({"models": [{"name": 1}], "texts": []})"}) {
    try {
      parse_registry(text);
      ADD_FAILURE() << text;
    } catch (const core::Error& error) {
      EXPECT_EQ(error.kind(), core::ErrorKind::kInternal);
      EXPECT_TRUE(std::string(error.what()).starts_with("registry.json: "));
    }
  }
}

}  // namespace
}  // namespace salient::hub
