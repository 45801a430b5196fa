#include <gtest/gtest.h>
#include <salient/salient.h>

#include <atomic>
#include <limits>
#include <salient/salient.hpp>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/chat_model.h"

namespace {

class CApiTest : public testing::Test {
 protected:
  void SetUp() override {
    salient::tests::write_chat_model(folder_.path() / "model");
    ASSERT_EQ(SalientOpenModel((folder_.path() / "model").c_str(), 2, nullptr, nullptr, nullptr, &model_), SALIENT_OK);
    ASSERT_EQ(SalientCreateTokenizer(model_, &tokenizer_), SALIENT_OK);
    ASSERT_EQ(SalientCreateConfig(&config_), SALIENT_OK);
    ASSERT_EQ(SalientConfigSet(config_, "temperature", 0), SALIENT_OK);
    ASSERT_EQ(SalientConfigSet(config_, "max_tokens", 10), SALIENT_OK);
  }
  void TearDown() override {
    SalientDestroyConfig(config_);
    SalientDestroyTokenizer(tokenizer_);
    SalientDestroyModel(model_);
  }
  /// Frees a text of the library.
  static std::string take(char* text) {
    std::string copy = text;
    SalientFree(text);
    return copy;
  }

  salient::tests::TemporaryFolder folder_;
  SalientModel* model_ = nullptr;
  SalientTokenizer* tokenizer_ = nullptr;
  SalientConfig* config_ = nullptr;
  const std::vector<int32_t> prompt_ = {'O', 'n', 'c', 'e'};
};

TEST_F(CApiTest, GivesWhatTheCppInterfaceGives) {
  const salient::Model model(folder_.path() / "model");
  salient::GenerationConfig config;
  config.temperature = 0;
  config.max_tokens = 10;
  salient::Generator expected(model, config);
  const salient::Reply reply = expected.reply(prompt_);

  SalientGenerator* generator = nullptr;
  ASSERT_EQ(SalientCreateGenerator(model_, config_, &generator), SALIENT_OK);
  ASSERT_EQ(SalientAppendTokens(generator, prompt_.data(), prompt_.size()), SALIENT_OK);
  std::vector<float> logits(320);
  EXPECT_EQ(SalientGetLogits(generator, logits.data(), 320), SALIENT_OK);
  expected.rewind_to(4);
  EXPECT_EQ(logits, expected.logits());
  std::string text;
  std::vector<int32_t> ids = prompt_;
  for (bool done = false; !done;) {
    int32_t id = -1;
    const char* piece = nullptr;
    ASSERT_EQ(SalientNextToken(generator, &id, &piece), SALIENT_OK);
    text += piece;
    ids.push_back(id);
    ASSERT_EQ(SalientIsDone(generator, &done), SALIENT_OK);
  }
  EXPECT_EQ(text, reply.text);
  const char* reason = nullptr;
  EXPECT_EQ(SalientFinishReason(generator, &reason), SALIENT_OK);
  EXPECT_EQ(std::string(reason), "length");
  int32_t* tokens = nullptr;
  size_t count = 0;
  ASSERT_EQ(SalientTokens(generator, &tokens, &count), SALIENT_OK);
  EXPECT_EQ(std::vector<int32_t>(tokens, tokens + count), ids);
  SalientFree(tokens);
  EXPECT_EQ(SalientRewind(generator, 5), SALIENT_OK);
  EXPECT_EQ(SalientSetLogits(generator, logits.data(), 320), SALIENT_OK);
  int32_t again = -1;
  EXPECT_EQ(SalientNextToken(generator, &again, nullptr), SALIENT_OK);
  EXPECT_EQ(again, ids[4]);
  SalientDestroyGenerator(generator);
}

// Under AddressSanitizer, which looks for leaks, this says that there are none.
TEST_F(CApiTest, AThousandGeneratorsComeAndGo) {
  std::vector<int32_t> first;
  for (int i = 0; i < 1000; ++i) {
    SalientGenerator* generator = nullptr;
    ASSERT_EQ(SalientCreateGenerator(model_, config_, &generator), SALIENT_OK);
    ASSERT_EQ(SalientAppendTokens(generator, prompt_.data(), prompt_.size()), SALIENT_OK);
    std::vector<int32_t> ids;
    for (bool done = false; !done;) {
      ids.push_back(-1);
      ASSERT_EQ(SalientNextToken(generator, &ids.back(), nullptr), SALIENT_OK);
      ASSERT_EQ(SalientIsDone(generator, &done), SALIENT_OK);
    }
    SalientDestroyGenerator(generator);
    if (i == 0) first = ids;
    ASSERT_EQ(ids, first);
  }
}

TEST_F(CApiTest, ACallbackSeesTheReplyAndCanStopIt) {
  SalientGenerator* generator = nullptr;
  ASSERT_EQ(SalientCreateGenerator(model_, config_, &generator), SALIENT_OK);
  struct Seen {
    std::string text;
    int pieces = 0;
    int most = 1000;
  } seen;
  const auto on_piece = [](void* context, const char* piece, size_t size) {
    auto* here = static_cast<Seen*>(context);
    here->text.append(piece, size);
    return ++here->pieces < here->most;
  };
  char* text = nullptr;
  ASSERT_EQ(SalientReply(generator, prompt_.data(), prompt_.size(), on_piece, &seen, &text), SALIENT_OK);
  const std::string whole = take(text);
  EXPECT_EQ(seen.text, whole);
  seen = {{}, 0, 2};
  ASSERT_EQ(SalientReply(generator, prompt_.data(), prompt_.size(), on_piece, &seen, &text), SALIENT_OK);
  const std::string part = take(text);
  EXPECT_LT(part.size(), whole.size());
  EXPECT_EQ(whole.substr(0, part.size()), part);
  SalientDestroyGenerator(generator);
}

TEST_F(CApiTest, TextGoesThroughTheTokenizer) {
  int32_t* ids = nullptr;
  size_t count = 0;
  ASSERT_EQ(SalientEncode(tokenizer_, "hé", true, &ids, &count), SALIENT_OK);
  EXPECT_EQ(std::vector<int32_t>(ids, ids + count), (std::vector<int32_t>{'h', 0xc3, 0xa9}));
  char* text = nullptr;
  ASSERT_EQ(SalientDecode(tokenizer_, ids, count, true, &text), SALIENT_OK);
  EXPECT_EQ(take(text), "hé");
  SalientFree(ids);
  ASSERT_EQ(SalientEncode(tokenizer_, "", true, &ids, &count), SALIENT_OK);
  EXPECT_EQ(count, 0u);
  SalientFree(ids);
  ASSERT_EQ(SalientDecode(tokenizer_, nullptr, 0, true, &text), SALIENT_OK);
  EXPECT_EQ(take(text), "");
  int32_t id = 0;
  EXPECT_EQ(SalientTokenId(tokenizer_, "<|end|>", &id), SALIENT_OK);
  EXPECT_EQ(id, 256);
  EXPECT_EQ(SalientTokenId(tokenizer_, "none", &id), SALIENT_OK);
  EXPECT_EQ(id, -1);
  SalientTokenStream* stream = nullptr;
  ASSERT_EQ(SalientCreateTokenStream(tokenizer_, &stream), SALIENT_OK);
  const char* piece = nullptr;
  EXPECT_EQ(SalientTokenStreamPush(stream, 0xc3, &piece), SALIENT_OK);
  EXPECT_STREQ(piece, "");
  EXPECT_EQ(SalientTokenStreamPush(stream, 0xa9, &piece), SALIENT_OK);
  EXPECT_STREQ(piece, "é");
  EXPECT_EQ(SalientTokenStreamFinish(stream, &piece), SALIENT_OK);
  SalientDestroyTokenStream(stream);
  ASSERT_EQ(SalientApplyChatTemplate(model_, R"([{"role": "user", "content": "hi"}])", nullptr, true, &text),
            SALIENT_OK);
  EXPECT_EQ(take(text), "user: hi\nassistant:");
}

TEST_F(CApiTest, MistakesAreAStatusAndASentence) {
  SalientModel* other = nullptr;
  EXPECT_EQ(SalientOpenModel("/no/such/model", 0, nullptr, nullptr, nullptr, &other), SALIENT_NOT_FOUND);
  EXPECT_NE(std::string(SalientLastError()).find("/no/such/model"), std::string::npos);
  EXPECT_EQ(other, nullptr);
  EXPECT_EQ(SalientOpenModel(nullptr, 0, nullptr, nullptr, nullptr, &other), SALIENT_INVALID_INPUT);
  EXPECT_STREQ(SalientLastError(), "name is null");
  EXPECT_EQ(SalientOpenModel((folder_.path() / "model").c_str(), 0, nullptr, nullptr, "tpu", &other),
            SALIENT_INVALID_INPUT);
  EXPECT_NE(std::string(SalientLastError()).find("device is \"tpu\", expected cpu, gpu"), std::string::npos);
  EXPECT_EQ(SalientOpenModel("x", 0, nullptr, nullptr, nullptr, nullptr), SALIENT_INVALID_INPUT);
  EXPECT_EQ(SalientCreateGenerator(nullptr, nullptr, nullptr), SALIENT_INVALID_INPUT);
  SalientGenerator* generator = nullptr;
  EXPECT_EQ(SalientCreateGenerator(nullptr, nullptr, &generator), SALIENT_INVALID_INPUT);
  EXPECT_STREQ(SalientLastError(), "model is null");
  EXPECT_EQ(SalientConfigSet(config_, "foo", 1), SALIENT_INVALID_INPUT);
  EXPECT_EQ(std::string(SalientLastError()).find("there is no generation option \"foo\"; there are context, "), 0u);
  ASSERT_EQ(SalientCreateGenerator(model_, config_, &generator), SALIENT_OK);
  int32_t id = 0;
  EXPECT_EQ(SalientNextToken(generator, &id, nullptr), SALIENT_INVALID_INPUT);
  EXPECT_EQ(SalientAppendTokens(generator, nullptr, 3), SALIENT_INVALID_INPUT);
  EXPECT_STREQ(SalientLastError(), "ids is null");
  const int32_t outside = 5000;
  EXPECT_EQ(SalientAppendTokens(generator, &outside, 1), SALIENT_INVALID_INPUT);
  std::vector<float> logits(10);
  ASSERT_EQ(SalientAppendTokens(generator, prompt_.data(), prompt_.size()), SALIENT_OK);
  EXPECT_EQ(SalientGetLogits(generator, logits.data(), 10), SALIENT_INVALID_INPUT);
  EXPECT_STREQ(SalientLastError(), "count is 10, expected 320, one for each token");
  SalientDestroyGenerator(generator);
  SalientDestroyGenerator(nullptr);
}

TEST_F(CApiTest, NothingIsWrittenPastTheLength) {
  SalientGenerator* generator = nullptr;
  ASSERT_EQ(SalientCreateGenerator(model_, config_, &generator), SALIENT_OK);
  ASSERT_EQ(SalientAppendTokens(generator, prompt_.data(), prompt_.size()), SALIENT_OK);
  int32_t id = -1;
  for (int i = 0; i < 10; ++i) ASSERT_EQ(SalientNextToken(generator, &id, nullptr), SALIENT_OK);
  EXPECT_EQ(SalientNextToken(generator, &id, nullptr), SALIENT_INVALID_INPUT);
  EXPECT_STREQ(SalientLastError(), "the text has 14 tokens, the most it may have");
  EXPECT_EQ(SalientRewind(generator, 15), SALIENT_INVALID_INPUT);
  EXPECT_EQ(SalientRewind(generator, std::numeric_limits<size_t>::max()), SALIENT_INVALID_INPUT);
  const std::vector<int32_t> long_prompt(600, 'a');
  EXPECT_EQ(SalientAppendTokens(generator, long_prompt.data(), long_prompt.size()), SALIENT_INVALID_INPUT);
  EXPECT_STREQ(SalientLastError(),
               "the prompt has 614 tokens, but the context holds 512, the reply included: shorten the prompt");
  EXPECT_EQ(SalientRewind(generator, 14), SALIENT_OK);
  EXPECT_EQ(SalientNextToken(generator, &id, nullptr), SALIENT_INVALID_INPUT);
  EXPECT_EQ(SalientRewind(generator, 13), SALIENT_OK);
  EXPECT_EQ(SalientNextToken(generator, &id, nullptr), SALIENT_OK);
  SalientDestroyGenerator(generator);
}

TEST_F(CApiTest, TokensThatTheModelDoesNotHave) {
  SalientGenerator* generator = nullptr;
  ASSERT_EQ(SalientCreateGenerator(model_, config_, &generator), SALIENT_OK);
  for (const int32_t token : {-1, 320, std::numeric_limits<int32_t>::max(), std::numeric_limits<int32_t>::min()}) {
    const std::vector<int32_t> tokens = {'a', token};
    EXPECT_EQ(SalientAppendTokens(generator, tokens.data(), 2), SALIENT_INVALID_INPUT);
    EXPECT_EQ(SalientLastError(), "token " + std::to_string(token) + " is outside the model's vocabulary of 320");
    char* text = nullptr;
    EXPECT_EQ(SalientReply(generator, tokens.data(), 2, nullptr, nullptr, &text), SALIENT_INVALID_INPUT);
    // It has no text.
    ASSERT_EQ(SalientDecode(tokenizer_, tokens.data(), 2, true, &text), SALIENT_OK);
    EXPECT_EQ(take(text), "a");
    SalientTokenStream* stream = nullptr;
    ASSERT_EQ(SalientCreateTokenStream(tokenizer_, &stream), SALIENT_OK);
    const char* piece = nullptr;
    EXPECT_EQ(SalientTokenStreamPush(stream, token, &piece), SALIENT_OK);
    EXPECT_STREQ(piece, "");
    SalientDestroyTokenStream(stream);
    SalientConfig* biased = nullptr;
    ASSERT_EQ(SalientCreateConfig(&biased), SALIENT_OK);
    ASSERT_EQ(SalientConfigSetLogitBias(biased, token, 1), SALIENT_OK);
    SalientGenerator* other = nullptr;
    EXPECT_EQ(SalientCreateGenerator(model_, biased, &other), SALIENT_INVALID_INPUT);
    EXPECT_EQ(SalientLastError(),
              "token " + std::to_string(token) + " of the logit bias is outside the model's vocabulary of 320");
    SalientDestroyConfig(biased);
  }
  // What was refused is not in the text.
  ASSERT_EQ(SalientAppendTokens(generator, prompt_.data(), prompt_.size()), SALIENT_OK);
  int32_t* tokens = nullptr;
  size_t count = 0;
  ASSERT_EQ(SalientTokens(generator, &tokens, &count), SALIENT_OK);
  EXPECT_EQ(std::vector<int32_t>(tokens, tokens + count), prompt_);
  SalientFree(tokens);
  SalientDestroyGenerator(generator);
}

// Whoever comes second is refused, and what the others did stands.
TEST_F(CApiTest, AGeneratorThatSeveralThreadsUseStaysWhole) {
  ASSERT_EQ(SalientConfigSet(config_, "max_tokens", 0), SALIENT_OK);
  ASSERT_EQ(SalientConfigSet(config_, "min_length", 400), SALIENT_OK);  // tokens that end it are not in the text
  SalientGenerator* generator = nullptr;
  ASSERT_EQ(SalientCreateGenerator(model_, config_, &generator), SALIENT_OK);
  ASSERT_EQ(SalientAppendTokens(generator, prompt_.data(), prompt_.size()), SALIENT_OK);
  std::atomic<int> written = 0;
  {
    std::vector<std::jthread> threads;
    for (int thread = 0; thread < 4; ++thread) {
      threads.emplace_back([&] {
        for (int i = 0; i < 40; ++i) {
          int32_t id = -1;
          const char* piece = nullptr;
          if (SalientNextToken(generator, &id, &piece) == SALIENT_OK) {
            ++written;
          } else {
            EXPECT_STREQ(SalientLastError(),
                         "this generator is at work, expected one thread at a time, and not its own callback");
          }
        }
      });
    }
  }
  int32_t* tokens = nullptr;
  size_t count = 0;
  ASSERT_EQ(SalientTokens(generator, &tokens, &count), SALIENT_OK);
  EXPECT_EQ(count, prompt_.size() + static_cast<size_t>(written));
  SalientFree(tokens);
  SalientDestroyGenerator(generator);
}

TEST_F(CApiTest, ACallbackCannotUseItsGenerator) {
  SalientGenerator* generator = nullptr;
  ASSERT_EQ(SalientCreateGenerator(model_, config_, &generator), SALIENT_OK);
  const auto on_piece = [](void* context, const char*, size_t) {
    int32_t id = -1;
    EXPECT_EQ(SalientNextToken(static_cast<SalientGenerator*>(context), &id, nullptr), SALIENT_INVALID_INPUT);
    return true;
  };
  char* text = nullptr;
  ASSERT_EQ(SalientReply(generator, prompt_.data(), prompt_.size(), on_piece, generator, &text), SALIENT_OK);
  SalientFree(text);
  SalientDestroyGenerator(generator);
}

TEST_F(CApiTest, ADebugBuildKnowsDestroyedHandles) {
#ifdef NDEBUG
  GTEST_SKIP() << "this is no debug build";
#endif
  SalientGenerator* generator = nullptr;
  SalientTokenStream* stream = nullptr;
  ASSERT_EQ(SalientCreateGenerator(model_, config_, &generator), SALIENT_OK);
  ASSERT_EQ(SalientCreateTokenStream(tokenizer_, &stream), SALIENT_OK);
  SalientDestroyGenerator(generator);
  SalientDestroyTokenStream(stream);
  SalientDestroyConfig(config_);
  SalientDestroyTokenizer(tokenizer_);
  SalientDestroyModel(model_);
  const auto expect_refused = [](SalientStatus status, const char* sentence) {
    EXPECT_EQ(status, SALIENT_INVALID_INPUT);
    EXPECT_STREQ(SalientLastError(), sentence);
  };
  int32_t id = -1;
  const char* piece = nullptr;
  expect_refused(SalientNextToken(generator, &id, nullptr), "generator was destroyed before");
  expect_refused(SalientTokenStreamPush(stream, 'a', &piece), "stream was destroyed before");
  expect_refused(SalientConfigSet(config_, "top_k", 1), "config was destroyed before");
  expect_refused(SalientTokenId(tokenizer_, "a", &id), "tokenizer was destroyed before");
  expect_refused(SalientCreateGenerator(model_, nullptr, &generator), "model was destroyed before");
  // A second time does nothing.
  SalientDestroyGenerator(generator);
  SalientDestroyConfig(config_);
  model_ = nullptr;
}

TEST_F(CApiTest, StatusesHaveNames) {
  EXPECT_STREQ(SalientStatusName(SALIENT_OK), "ok");
  EXPECT_STREQ(SalientStatusName(SALIENT_INVALID_INPUT), "invalid_input");
  EXPECT_STREQ(SalientStatusName(SALIENT_NETWORK), "network");
  EXPECT_STREQ(SalientStatusName(SALIENT_INTERNAL), "internal");
  EXPECT_STREQ(SalientVersion(), "0.1.0");
}

}  // namespace
