#include <gtest/gtest.h>

#include <atomic>
#include <salient/salient.hpp>
#include <thread>

#include "tests/support/chat_model.h"

namespace salient {
namespace {

class ApiGeneratorTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new tests::TemporaryFolder;
    tests::write_chat_model(folder_->path() / "model");
    model_ = new Model(folder_->path() / "model", {.threads = 2});
  }
  static void TearDownTestSuite() {
    delete model_;
    delete folder_;
  }
  static GenerationConfig free_config(uint64_t seed, int64_t tokens) {
    GenerationConfig config;
    config.temperature = 1;
    config.seed = seed;
    config.max_tokens = tokens;
    return config;
  }
  static std::string sentence(const std::function<void()>& body) {
    try {
      body();
    } catch (const Error& error) {
      return error.what();
    }
    return "nothing was thrown";
  }

  static inline tests::TemporaryFolder* folder_ = nullptr;
  static inline Model* model_ = nullptr;
  const std::vector<int32_t> prompt_ = {'O', 'n', 'c', 'e'};
};

TEST_F(ApiGeneratorTest, TheModelSaysWhatItIs) {
  EXPECT_EQ(model_->format(), "safetensors");
  EXPECT_EQ(model_->family(), "llama");
  EXPECT_EQ(model_->vocab_size(), 320);
  EXPECT_EQ(model_->context_length(), 512);
  EXPECT_EQ(model_->end_tokens(), std::vector<int32_t>{256});
  EXPECT_FALSE(model_->begin_token());
  EXPECT_EQ(model_->arithmetic(), "not quantized");
  EXPECT_NE(model_->summary().find("2 layers"), std::string::npos);
  EXPECT_EQ(nlohmann::json::parse(model_->config_json())["hidden_size"], 64);
}

TEST_F(ApiGeneratorTest, TheTokenizerIsTheModels) {
  const Tokenizer tokenizer = model_->tokenizer();
  EXPECT_EQ(tokenizer.encode("hé"), (std::vector<int32_t>{'h', 0xc3, 0xa9}));
  EXPECT_EQ(tokenizer.decode(std::vector<int32_t>{'h', 256, 0xc3, 0xa9}), "hé");
  EXPECT_EQ(tokenizer.decode(std::vector<int32_t>{256}, false), "<|end|>");
  EXPECT_EQ(tokenizer.id_of("<|end|>"), 256);
  EXPECT_FALSE(tokenizer.id_of("<|none|>"));
  TokenStream stream(tokenizer);
  EXPECT_EQ(stream.push('h'), "h");
  EXPECT_EQ(stream.push(0xc3), "");
  EXPECT_EQ(stream.push(0xa9), "é");
  EXPECT_EQ(stream.push(0xc3), "");
  EXPECT_EQ(stream.finish(), "\xef\xbf\xbd");
}

TEST_F(ApiGeneratorTest, TheChatTemplateTakesTurnsAndJson) {
  const ChatTemplate chat = model_->chat_template();
  EXPECT_EQ(chat.render({{"user", "hi"}}), "user: hi\nassistant:");
  EXPECT_EQ(chat.render_json(R"([{"role": "user", "content": "hi"}])", R"([{"a": 1}, {"b": 2}])", false),
            "user: hi\n2 tools\n");
  EXPECT_EQ(ChatTemplate(*model_, "{{ messages[0].content | upper }}").render({{"user", "hi"}}), "HI");
  EXPECT_EQ(sentence([&] { chat.render_json("{}"); }), "messages: expected a JSON array of objects");
  EXPECT_EQ(sentence([&] { chat.render_json("[1"); }), "messages: expected a JSON array of objects");
  EXPECT_EQ(sentence([&] { chat.render_json("[]", "[3]"); }), "tools: expected a JSON array of objects");
  EXPECT_NE(sentence([&] { ChatTemplate(*model_, "{% if %}"); }).find("does not parse"), std::string::npos);
}

TEST_F(ApiGeneratorTest, TokenByTokenIsTheWholeReply) {
  Generator whole(*model_, free_config(3, 30));
  const Reply reply = whole.reply(prompt_);
  Generator stepping(*model_, free_config(3, 30));
  stepping.append_tokens(prompt_);
  std::string text;
  std::vector<int32_t> ids;
  while (!stepping.is_done()) {
    const Token token = stepping.next_token();
    text += token.text;
    if (!token.ends_reply) ids.push_back(token.id);
  }
  EXPECT_EQ(ids, reply.ids);
  EXPECT_EQ(text, reply.text);
  EXPECT_EQ(stepping.finish_reason(), reply.finish);
  EXPECT_EQ(stepping.token_count(), 4 + std::ssize(ids));
}

TEST_F(ApiGeneratorTest, LogProbabilitiesComeWithTheTokens) {
  GenerationConfig config = free_config(3, 5);
  config.top_log_probabilities = 2;
  Generator generator(*model_, config);
  const Reply reply = generator.reply(prompt_);
  ASSERT_EQ(reply.log_probabilities.size(), 5u);
  ASSERT_EQ(reply.top_log_probabilities[4].size(), 2u);
  EXPECT_LE(reply.log_probabilities[4], reply.top_log_probabilities[4][0].value);
  generator.rewind_to(4);
  const Token token = generator.next_token();
  EXPECT_EQ(token.log_probability, reply.log_probabilities[0]);
  EXPECT_EQ(token.top_log_probabilities[1].id, reply.top_log_probabilities[0][1].id);
}

TEST_F(ApiGeneratorTest, RefusesMistakesWithASentence) {
  Generator generator(*model_, free_config(0, 2));
  EXPECT_EQ(sentence([&] { generator.next_token(); }), "there is no text to go on from: append tokens first");
  EXPECT_EQ(sentence([&] { generator.finish_reason(); }), "the reply has not ended, so there is no reason");
  EXPECT_EQ(sentence([&] { generator.append_tokens({}); }), "the prompt is empty");
  EXPECT_EQ(sentence([&] { generator.append_tokens(std::vector<int32_t>{320}); }),
            "token 320 is outside the model's vocabulary of 320");
  EXPECT_EQ(sentence([&] { generator.append_tokens(std::vector<int32_t>{-1}); }),
            "token -1 is outside the model's vocabulary of 320");
  generator.append_tokens(prompt_);
  generator.next_token();
  generator.next_token();
  EXPECT_EQ(sentence([&] { generator.next_token(); }), "the text has 6 tokens, the most it may have");
  EXPECT_EQ(sentence([&] { generator.rewind_to(7); }), "cannot rewind to 7 tokens, the text has 6");
  EXPECT_EQ(sentence([&] { Model("no/such/model/here/at/all"); }).find("no/such/model"), 0u);
  EXPECT_EQ(sentence([&] { Model(folder_->path() / "model", {.head = "int3"}); }),
            "head is \"int3\", expected fp16, int8, int4");
  EXPECT_EQ(sentence([&] { Model(folder_->path() / "model", {.threads = -1}); }), "threads is -1, expected 0 to 1024");
}

TEST_F(ApiGeneratorTest, AStopRequestCancelsAPrompt) {
  Generator generator(*model_, free_config(0, 2));
  std::stop_source source;
  source.request_stop();
  try {
    generator.append_tokens(prompt_, source.get_token());
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kCancelled);
  }
  generator.append_tokens(prompt_);
  EXPECT_EQ(generator.token_count(), 4);
}

TEST_F(ApiGeneratorTest, IsForOneThreadAtATime) {
  Generator generator(*model_, free_config(1, 5));
  std::string refusal;
  generator.reply(prompt_, [&](std::string_view) {
    if (refusal.empty()) refusal = sentence([&] { generator.next_token(); });
  });
  EXPECT_EQ(refusal, "this generator is at work, expected one thread at a time, and not its own callback");
}

TEST_F(ApiGeneratorTest, OutlivesItsModel) {
  auto model = std::make_unique<Model>(folder_->path() / "model", ModelOptions{.threads = 1});
  Generator generator(*model, free_config(1, 5));
  model.reset();
  EXPECT_EQ(generator.reply(prompt_).ids, Generator(*model_, free_config(1, 5)).reply(prompt_).ids);
}

TEST_F(ApiGeneratorTest, GeneratorsOfSeveralThreadsWriteWhatTheyWriteAlone) {
  constexpr int kThreads = 8;
  constexpr int kGenerators = 32;
  std::vector<std::vector<int32_t>> alone(kGenerators);
  for (int i = 0; i < kGenerators; ++i) {
    alone[i] = Generator(*model_, free_config(i, 20)).reply(std::vector<int32_t>{'a' + i}).ids;
  }
  std::vector<std::vector<int32_t>> together(kGenerators);
  std::vector<std::jthread> threads;
  for (int thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      for (int i = thread; i < kGenerators; i += kThreads) {
        Generator generator(*model_, free_config(i, 20));
        generator.append_tokens(std::vector<int32_t>{'a' + i});
        while (!generator.is_done()) {
          const Token token = generator.next_token();
          if (!token.ends_reply) together[i].push_back(token.id);
        }
      }
    });
  }
  threads.clear();
  EXPECT_EQ(together, alone);
}

TEST_F(ApiGeneratorTest, AReplyFollowsItsGrammar) {
  for (const bool speculate : {false, true}) {
    GenerationConfig config = free_config(3, 100);
    config.speculate = speculate;
    config.grammar = {"json_schema", R"({"enum": ["red", "green", "blue"]})"};
    Generator generator(*model_, config);
    for (uint64_t turn = 0; turn < 3; ++turn) {
      const Reply reply = generator.reply(std::vector<int32_t>{'a', static_cast<int32_t>('b' + turn)});
      EXPECT_TRUE(reply.text == "\"red\"" || reply.text == "\"green\"" || reply.text == "\"blue\"") << reply.text;
      EXPECT_EQ(reply.finish, FinishReason::kStop);
      generator.rewind_to(4);
      std::string rest;
      while (!generator.is_done()) rest += generator.next_token().text;
      EXPECT_EQ(reply.text.substr(2), rest);
    }
    config.grammar = {"regex", "[0-9]+"};
    const std::string digits = Generator(*model_, config).reply(prompt_).text;
    EXPECT_EQ(digits.find_first_not_of("0123456789"), std::string::npos) << digits;
    EXPECT_FALSE(digits.empty());
  }
}

TEST_F(ApiGeneratorTest, AGrammarThatCannotBeFollowedIsRefused) {
  GenerationConfig config = free_config(3, 10);
  config.grammar = {"json_schema", R"({"type": "foo"})"};
  EXPECT_EQ(sentence([&] { Generator(*model_, config); }).find("the grammar (json_schema) cannot be compiled: "), 0u);
  config.grammar = {"regex", "a"};
  const std::vector<std::vector<int32_t>> prompts = {prompt_};
  EXPECT_EQ(sentence([&] { generate_batch(*model_, prompts, config); }), "a batch cannot follow a grammar");
  EXPECT_EQ(sentence([&] { beam_search(*model_, prompt_, {}, config); }), "a beam search cannot follow a grammar");
  config.end_tokens = std::vector<int32_t>();
  EXPECT_NE(sentence([&] { Generator(*model_, config); }).find("names no token that ends a reply"), std::string::npos);
}

TEST_F(ApiGeneratorTest, ABatchIsItsPromptsOneByOne) {
  const std::vector<std::vector<int32_t>> prompts = {prompt_, {'x'}, {'y', 'z'}};
  const auto replies = generate_batch(*model_, prompts, free_config(4, 12));
  ASSERT_EQ(replies.size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(replies[i].text, Generator(*model_, free_config(4, 12)).reply(prompts[i]).text);
  }
}

TEST_F(ApiGeneratorTest, AModelWithoutATokenizerSaysSo) {
  tests::write_tiny_model(folder_->path() / "bare");
  const Model model(folder_->path() / "bare", {.threads = 1});
  EXPECT_NE(sentence([&] { model.tokenizer(); }).find("has no tokenizer"), std::string::npos);
  EXPECT_NE(sentence([&] { model.chat_template(); }).find("is not a chat model"), std::string::npos);
}

}  // namespace
}  // namespace salient
