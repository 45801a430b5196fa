#include <salient/salient.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <new>
#include <salient/salient.hpp>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "api/c_call.h"
#include "api/use.h"
#include "core/error.h"

using salient::api::copy_for_c;
using salient::api::guard;
using salient::api::Handle;
using salient::api::require;

struct SalientModel : Handle<SalientModel> {
  explicit SalientModel(salient::Model opened) : model(std::move(opened)) {}
  salient::Model model;
};
struct SalientTokenizer : Handle<SalientTokenizer> {
  explicit SalientTokenizer(salient::Tokenizer opened) : tokenizer(std::move(opened)) {}
  salient::Tokenizer tokenizer;
};
struct SalientTokenStream : Handle<SalientTokenStream> {
  explicit SalientTokenStream(const salient::Tokenizer& tokenizer) : stream(tokenizer) {}
  salient::TokenStream stream;
  std::string piece;
};
struct SalientConfig : Handle<SalientConfig> {
  salient::GenerationConfig config;
};
struct SalientGenerator : Handle<SalientGenerator> {
  SalientGenerator(const salient::Model& model, const salient::GenerationConfig& config) : generator(model, config) {}
  salient::Generator generator;
  std::string piece;
  std::atomic<bool> in_use = false;  ///< with `piece` too, which the generator knows nothing of
};

namespace {

thread_local std::string last_error;

SalientStatus keep(SalientStatus status, const char* sentence) noexcept {
  try {
    last_error = sentence;
  } catch (const std::bad_alloc&) {
    last_error.clear();
  }
  return status;
}

}  // namespace

SalientStatus salient::api::keep_exception() noexcept {
  try {
    throw;
  } catch (const Error& error) {
    return keep(static_cast<SalientStatus>(1 + static_cast<int>(error.kind())), error.what());
  } catch (const std::bad_alloc&) {
    return keep(SALIENT_OUT_OF_MEMORY, "there is not enough memory");
  } catch (const std::exception& error) {
    return keep(SALIENT_INTERNAL, error.what());
  } catch (...) {
    return keep(SALIENT_INTERNAL, "an unknown error");
  }
}

const char* SalientVersion(void) {
  return SALIENT_VERSION;
}

const char* SalientLastError(void) {
  return last_error.c_str();
}

const char* SalientStatusName(SalientStatus status) {
  if (status == SALIENT_OK) return "ok";
  return salient::core::name_of(static_cast<salient::ErrorKind>(static_cast<int>(status) - 1));
}

void SalientFree(void* text_or_array) {
  std::free(text_or_array);
}

SalientStatus SalientOpenModel(const char* name, int threads, const char* head, const char* kv_cache,
                               const char* device, SalientModel** out) {
  return guard([&] {
    require(name, "name");
    require(out, "out");
    const salient::ModelOptions options{threads, head ? head : "fp16", kv_cache ? kv_cache : "fp16",
                                        device ? device : "cpu"};
    *out = new SalientModel(salient::Model(name, options));
  });
}

void SalientDestroyModel(SalientModel* model) {
  SalientModel::destroy(model);
}

SalientStatus SalientModelVocabSize(const SalientModel* model, int64_t* out) {
  return guard([&] {
    require(out, "out");
    *out = require(model, "model").model.vocab_size();
  });
}

SalientStatus SalientModelContextLength(const SalientModel* model, int64_t* out) {
  return guard([&] {
    require(out, "out");
    *out = require(model, "model").model.context_length();
  });
}

SalientStatus SalientModelSummary(const SalientModel* model, char** out) {
  return guard([&] {
    require(out, "out");
    *out = copy_for_c(require(model, "model").model.summary());
  });
}

SalientStatus SalientApplyChatTemplate(const SalientModel* model, const char* messages, const char* tools,
                                       bool add_generation_prompt, char** out) {
  return guard([&] {
    require(messages, "messages");
    require(out, "out");
    *out = copy_for_c(
        require(model, "model").model.chat_template().render_json(messages, tools ? tools : "", add_generation_prompt));
  });
}

SalientStatus SalientCreateTokenizer(const SalientModel* model, SalientTokenizer** out) {
  return guard([&] {
    require(out, "out");
    *out = new SalientTokenizer(require(model, "model").model.tokenizer());
  });
}

void SalientDestroyTokenizer(SalientTokenizer* tokenizer) {
  SalientTokenizer::destroy(tokenizer);
}

SalientStatus SalientEncode(const SalientTokenizer* tokenizer, const char* text, bool add_special_tokens, int32_t** out,
                            size_t* out_count) {
  return guard([&] {
    require(text, "text");
    require(out, "out");
    require(out_count, "out_count");
    const std::vector<int32_t> ids = require(tokenizer, "tokenizer").tokenizer.encode(text, add_special_tokens);
    *out = copy_for_c(std::span(ids));
    *out_count = ids.size();
  });
}

SalientStatus SalientDecode(const SalientTokenizer* tokenizer, const int32_t* ids, size_t count,
                            bool skip_special_tokens, char** out) {
  return guard([&] {
    if (count > 0) require(ids, "ids");
    require(out, "out");
    *out = copy_for_c(require(tokenizer, "tokenizer").tokenizer.decode({ids, count}, skip_special_tokens));
  });
}

SalientStatus SalientTokenId(const SalientTokenizer* tokenizer, const char* token, int32_t* out) {
  return guard([&] {
    require(token, "token");
    require(out, "out");
    *out = require(tokenizer, "tokenizer").tokenizer.id_of(token).value_or(-1);
  });
}

SalientStatus SalientCreateTokenStream(const SalientTokenizer* tokenizer, SalientTokenStream** out) {
  return guard([&] {
    require(out, "out");
    *out = new SalientTokenStream(require(tokenizer, "tokenizer").tokenizer);
  });
}

void SalientDestroyTokenStream(SalientTokenStream* stream) {
  SalientTokenStream::destroy(stream);
}

SalientStatus SalientTokenStreamPush(SalientTokenStream* stream, int32_t id, const char** out) {
  return guard([&] {
    require(stream, "stream");
    require(out, "out");
    stream->piece = stream->stream.push(id);
    *out = stream->piece.c_str();
  });
}

SalientStatus SalientTokenStreamFinish(SalientTokenStream* stream, const char** out) {
  return guard([&] {
    require(stream, "stream");
    require(out, "out");
    stream->piece = stream->stream.finish();
    *out = stream->piece.c_str();
  });
}

SalientStatus SalientCreateConfig(SalientConfig** out) {
  return guard([&] {
    require(out, "out");
    *out = new SalientConfig;
  });
}

void SalientDestroyConfig(SalientConfig* config) {
  SalientConfig::destroy(config);
}

SalientStatus SalientConfigSet(SalientConfig* config, const char* name, double value) {
  return guard([&] {
    require(config, "config");
    require(name, "name");
    config->config.set(name, value);
  });
}

SalientStatus SalientConfigGet(const SalientConfig* config, const char* name, double* out) {
  return guard([&] {
    require(config, "config");
    require(name, "name");
    require(out, "out");
    *out = config->config.get(name);
  });
}

SalientStatus SalientConfigAddStopString(SalientConfig* config, const char* text) {
  return guard([&] {
    require(config, "config");
    require(text, "text");
    config->config.stop_strings.emplace_back(text);
  });
}

SalientStatus SalientConfigSetGrammar(SalientConfig* config, const char* kind, const char* text) {
  return guard([&] {
    require(config, "config");
    require(kind, "kind");
    require(text, "text");
    config->config.grammar = {kind, text};
  });
}

SalientStatus SalientConfigSetLogitBias(SalientConfig* config, int32_t token, float bias) {
  return guard([&] { require(config, "config").config.logit_bias[token] = bias; });
}

SalientStatus SalientCreateGenerator(const SalientModel* model, const SalientConfig* config, SalientGenerator** out) {
  return guard([&] {
    require(out, "out");
    if (config) require(config, "config");
    const auto& options = config ? require(config, "config").config : salient::GenerationConfig();
    *out = new SalientGenerator(require(model, "model").model, options);
  });
}

void SalientDestroyGenerator(SalientGenerator* generator) {
  SalientGenerator::destroy(generator);
}

SalientStatus SalientAppendTokens(SalientGenerator* generator, const int32_t* ids, size_t count) {
  return guard([&] {
    if (count > 0) require(ids, "ids");
    require(generator, "generator").generator.append_tokens({ids, count});
  });
}

SalientStatus SalientNextToken(SalientGenerator* generator, int32_t* id, const char** piece) {
  return guard([&] {
    require(generator, "generator");
    require(id, "id");
    const salient::api::Use use(generator->in_use);
    salient::Token token = generator->generator.next_token();
    *id = token.id;
    generator->piece = std::move(token.text);
    if (piece) *piece = generator->piece.c_str();
  });
}

SalientStatus SalientIsDone(const SalientGenerator* generator, bool* out) {
  return guard([&] {
    require(out, "out");
    *out = require(generator, "generator").generator.is_done();
  });
}

SalientStatus SalientFinishReason(const SalientGenerator* generator, const char** out) {
  return guard([&] {
    require(out, "out");
    *out =
        require(generator, "generator").generator.finish_reason() == salient::FinishReason::kStop ? "stop" : "length";
  });
}

SalientStatus SalientTokens(const SalientGenerator* generator, int32_t** out, size_t* out_count) {
  return guard([&] {
    require(out, "out");
    require(out_count, "out_count");
    const std::vector<int32_t> ids = require(generator, "generator").generator.tokens();
    *out = copy_for_c(std::span(ids));
    *out_count = ids.size();
  });
}

SalientStatus SalientRewind(SalientGenerator* generator, size_t length) {
  return guard([&] { require(generator, "generator").generator.rewind_to(static_cast<int64_t>(length)); });
}

SalientStatus SalientGetLogits(SalientGenerator* generator, float* logits, size_t count) {
  return guard([&] {
    require(logits, "logits");
    const auto row = require(generator, "generator").generator.logits();
    if (count != row.size()) {
      salient::core::fail(salient::ErrorKind::kInvalidInput, "count is {}, expected {}, one for each token", count,
                          row.size());
    }
    std::memcpy(logits, row.data(), row.size() * sizeof(float));
  });
}

SalientStatus SalientSetLogits(SalientGenerator* generator, const float* logits, size_t count) {
  return guard([&] {
    require(logits, "logits");
    require(generator, "generator").generator.set_logits({logits, count});
  });
}

SalientStatus SalientReply(SalientGenerator* generator, const int32_t* prompt, size_t count,
                           SalientPieceCallback on_piece, void* context, char** text) {
  return guard([&] {
    require(generator, "generator");
    if (count > 0) require(prompt, "prompt");
    require(text, "text");
    std::stop_source stop;
    const auto pass_on = [&](std::string_view piece) {
      if (on_piece && !on_piece(context, piece.data(), piece.size())) stop.request_stop();
    };
    *text = copy_for_c(generator->generator.reply({prompt, count}, pass_on, stop.get_token()).text);
  });
}
