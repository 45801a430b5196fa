#include "convert/gguf_vocabulary.h"

#include <gtest/gtest.h>

#include "checkpoint/gguf.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/tiny_model.h"
#include "tests/support/tiny_tokenizer.h"
#include "text/tokenizer.h"

namespace salient::convert {
namespace {

using core::ErrorKind;
using nlohmann::json;
using tests::expect_error;
using Ids = std::vector<int32_t>;
namespace fs = std::filesystem;

checkpoint::Checkpoint with_tokenizer(const std::string& tokenizer_json) {
  checkpoint::Checkpoint checkpoint;
  checkpoint.path = "model";
  checkpoint.config = checkpoint.generation_config = checkpoint.tokenizer_config = json::object();
  checkpoint.tokenizer_json = tokenizer_json;
  return checkpoint;
}

model::DecoderSpec spec_of(int64_t vocab_size, std::vector<int32_t> ends = {2}) {
  model::DecoderSpec spec;
  spec.vocab_size = vocab_size;
  spec.end_of_sequence = std::move(ends);
  return spec;
}

/// A GGUF file of nothing but the vocabulary, read back.
class GgufVocabulary : public testing::Test {
 protected:
  checkpoint::GgufFile write(const checkpoint::Checkpoint& source, const model::DecoderSpec& spec) {
    fs::path path = folder_.path() / "model.gguf";
    fs::remove(path);
    checkpoint::GgufOutputMetadata metadata = describe_vocabulary(source, spec);
    metadata["general.architecture"] = architecture;
    checkpoint::write_gguf(path, metadata, {}, {}, {});
    return checkpoint::parse_gguf(path);
  }
  text::Tokenizer rewrite(const checkpoint::Checkpoint& source, const model::DecoderSpec& spec) {
    return {checkpoint::make_tokenizer_json(write(source, spec)), "model.gguf"};
  }
  void expect_refused(ErrorKind kind, const std::vector<std::string>& parts, const std::string& tokenizer_json,
                      const model::DecoderSpec& spec = spec_of(1000)) {
    expect_error(kind, parts, [&] { describe_vocabulary(with_tokenizer(tokenizer_json), spec); });
  }
  std::string architecture = "llama";

 private:
  tests::TemporaryFolder folder_;
};

TEST_F(GgufVocabulary, OfBytesCutsAndMergesAsBefore) {
  json tokenizer = json::parse(tests::byte_level_tokenizer());
  tokenizer["model"]["vocab"]["ab"] = 257;
  tokenizer["model"]["vocab"]["abc"] = 258;
  tokenizer["model"]["merges"] = {"a b", json::array({"ab", "c"})};  // both ways of writing a merge
  const text::Tokenizer written = rewrite(with_tokenizer(tokenizer.dump()), spec_of(300));
  EXPECT_EQ(written.encode("abcab<|end|>", false), (Ids{258, 257, 256}));
  EXPECT_EQ(written.vocab_size(), 300);  // with unused tokens for the ids the tokenizer does not know
}

TEST_F(GgufVocabulary, OfPiecesKeepsSpacesBytesAndTheTokenBeforeTexts) {
  const std::string source = tests::sentencepiece_tokenizer();
  const text::Tokenizer original(source, "x");
  const text::Tokenizer written = rewrite(with_tokenizer(source), spec_of(288));
  for (const char* text : {"a b", "abc", " a  b", "\xc3\xa9 a", "", "a</s>b"}) {
    EXPECT_EQ(written.encode(text, true), original.encode(text, true)) << text;
    EXPECT_EQ(written.encode(text, false), original.encode(text, false)) << text;
    EXPECT_EQ(written.decode(original.encode(text, true), false), original.decode(original.encode(text, true), false));
  }
}

TEST_F(GgufVocabulary, KeepsWhichTokensSwallowWhiteSpace) {
  for (const char* name : {"llama", "phi3"}) {
    architecture = name;
    for (const bool strips : {false, true}) {
      json tokenizer = json::parse(tests::sentencepiece_tokenizer());
      for (json& token : tokenizer["added_tokens"]) token["rstrip"] = strips;
      const text::Tokenizer original(tokenizer.dump(), "x");
      const text::Tokenizer written = rewrite(with_tokenizer(tokenizer.dump()), spec_of(288));
      EXPECT_EQ(written.encode("a</s>  b", false), original.encode("a</s>  b", false)) << name << strips;
    }
  }
}

TEST_F(GgufVocabulary, NamesSpecialTokensAndEnds) {
  checkpoint::Checkpoint source = with_tokenizer(tests::sentencepiece_tokenizer());
  source.tokenizer_config = {{"bos_token", {{"content", "<s>"}}}, {"unk_token", "<unk>"}, {"chat_template", "{{ x }}"}};
  source.generation_config = {{"pad_token_id", 7}};
  const checkpoint::GgufFile file = write(source, spec_of(288, {2, 5, 6}));
  EXPECT_EQ(file.integer("tokenizer.ggml.bos_token_id"), 1);
  EXPECT_EQ(file.integer("tokenizer.ggml.unknown_token_id"), 0);
  EXPECT_EQ(file.integer("tokenizer.ggml.padding_token_id"), 7);
  EXPECT_EQ(file.string("tokenizer.chat_template"), "{{ x }}");
  EXPECT_EQ(checkpoint::make_generation_config(file)["eos_token_id"], (json{2, 5, 6}));
}

TEST_F(GgufVocabulary, RefusesWhatGgufHasNoWordsFor) {
  json tokenizer = json::parse(tests::byte_level_tokenizer());
  expect_refused(ErrorKind::kInvalidInput, {"model", "no tokenizer.json"}, "");
  expect_refused(ErrorKind::kInvalidInput, {"\"model\""}, "{}");
  expect_refused(ErrorKind::kInvalidInput, {"the id ", "below 100"}, tokenizer.dump(), spec_of(100));
  expect_refused(ErrorKind::kUnsupported, {"4 tokens end a reply"}, tokenizer.dump(), spec_of(300, {1, 2, 3, 4}));
  json other = tokenizer;
  other["pre_tokenizer"] = {{"type", "Whitespace"}};
  expect_refused(ErrorKind::kUnsupported, {"pre_tokenizer"}, other.dump());
  other = tokenizer;
  other["model"]["merges"] = {"ab"};
  expect_refused(ErrorKind::kInvalidInput, {"the merge \"ab\""}, other.dump());
  other["model"]["type"] = "Unigram";
  expect_refused(ErrorKind::kUnsupported, {"Unigram"}, other.dump());
}

/// The goldens of real tokenizers hold after the way through GGUF.
TEST_F(GgufVocabulary, OfRealTokenizersGivesTheirGoldens) {
  const fs::path folder = tests::shared_data() / "tokenizers";
  if (!fs::exists(folder)) GTEST_SKIP() << folder << " is not here";
  int tokenizers = 0;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (!fs::exists(entry.path() / "goldens.json")) continue;
    SCOPED_TRACE(entry.path().string());
    checkpoint::Checkpoint source = with_tokenizer(tests::read_text(entry.path() / "tokenizer.json"));
    source.tokenizer_config = {{"bos_token", "<s>"}, {"eos_token", "</s>"}, {"unk_token", "<unk>"}};
    architecture = entry.path().filename().string().starts_with("phi3") ? "phi3" : "llama";
    const text::Tokenizer written = rewrite(source, spec_of(64000));
    const json goldens = tests::read_json(entry.path() / "goldens.json");
    for (const json& golden : goldens["cases"]) {
      const auto text = golden["text"].get<std::string>();
      EXPECT_EQ(written.encode(text, false), golden["ids"].get<Ids>()) << text;
      EXPECT_EQ(written.encode(text, true), golden["ids_with_special"].get<Ids>()) << text;
    }
    ++tokenizers;
  }
  EXPECT_GE(tokenizers, 5);
}

}  // namespace
}  // namespace salient::convert
