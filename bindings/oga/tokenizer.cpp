// The tokenizer, its streams and chat templates.
#include <algorithm>

#include "oga/result.h"

namespace salient::oga {

namespace {

std::unique_ptr<OgaTokenizer> make_tokenizer(const OgaConfig& config, Tokenizer tokenizer) {
  return std::make_unique<OgaTokenizer>(
      OgaTokenizer{{}, config, std::move(tokenizer), false, true, end_tokens(config.document)});
}

/// A token of the configuration, for example "bos_token_id".
int32_t named_token(const OgaTokenizer& tokenizer, const char* name) {
  if (const auto id = model_number(tokenizer.config.document, name)) return static_cast<int32_t>(*id);
  fail(std::string(name) + " is not in the model's configuration");
}

bool read_switch(const std::string& name, const std::string& value) {
  for (const char* yes : {"true", "True", "1"}) {
    if (value == yes) return true;
  }
  for (const char* no : {"false", "False", "0"}) {
    if (value == no) return false;
  }
  fail(name + " is \"" + value + "\", expected true or false");
}

std::string apply_template(const OgaTokenizer& tokenizer, const char* source, const char* messages, const char* tools,
                           bool add_generation_prompt) {
  std::optional<std::string> own;
  if (source && *source) own = source;
  return ChatTemplate::open(tokenizer.config.folder, own)
      .render_json(&require(messages, "messages"), tools ? tools : "", add_generation_prompt);
}

}  // namespace

}  // namespace salient::oga

using salient::oga::copy_text;
using salient::oga::fail;
using salient::oga::guard;
using salient::oga::require;

OGA_EXPORT OgaResult* OgaCreateTokenizer(const OgaModel* model, OgaTokenizer** out) {
  return guard([&] {
    require(out, "out");
    const OgaModel& of = require(model, "model");
    auto tokenizer = salient::oga::make_tokenizer(of.config, of.model.tokenizer());
    if (tokenizer->end_tokens.empty()) tokenizer->end_tokens = of.model.end_tokens();
    *out = tokenizer.release();
  });
}
OGA_EXPORT OgaResult* OgaCreateTokenizerFromConfig(const OgaConfig* config, OgaTokenizer** out) {
  return guard([&] {
    require(out, "out");
    const OgaConfig& of = require(config, "config");
    *out = salient::oga::make_tokenizer(of, salient::Tokenizer::open(of.folder)).release();
  });
}
OGA_EXPORT OgaResult* OgaCreateConfig(const char* path, OgaConfig** out);
OGA_EXPORT OgaResult* OgaCreateTokenizerFromPath(const char* path, OgaTokenizer** out) {
  OgaConfig* config = nullptr;
  if (OgaResult* result = OgaCreateConfig(path, &config)) return result;
  const std::unique_ptr<OgaConfig> owner(config);
  return OgaCreateTokenizerFromConfig(config, out);
}
OGA_EXPORT void OgaDestroyTokenizer(OgaTokenizer* tokenizer) {
  OgaTokenizer::destroy(tokenizer);
}
OGA_EXPORT OgaResult* OgaUpdateTokenizerOptions(OgaTokenizer* tokenizer, const char* const* keys,
                                                const char* const* values, size_t count) {
  return guard([&] {
    OgaTokenizer& of = require(tokenizer, "tokenizer");
    if (count > 0) require(keys, "keys");
    if (count > 0) require(values, "values");
    for (size_t i = 0; i < count; ++i) {
      const std::string name = &require(keys[i], "a key");
      const std::string value = &require(values[i], "a value");
      if (name == "add_special_tokens") {
        of.add_special_tokens = salient::oga::read_switch(name, value);
      } else if (name == "skip_special_tokens") {
        of.skip_special_tokens = salient::oga::read_switch(name, value);
      } else {
        fail("there is no tokenizer option \"" + name + "\"; there are add_special_tokens, skip_special_tokens");
      }
    }
  });
}
OGA_EXPORT OgaResult* OgaTokenizerGetBosTokenId(const OgaTokenizer* tokenizer, int32_t* out) {
  return guard(
      [&] { require(out, "out") = salient::oga::named_token(require(tokenizer, "tokenizer"), "bos_token_id"); });
}
OGA_EXPORT OgaResult* OgaTokenizerGetPadTokenId(const OgaTokenizer* tokenizer, int32_t* out) {
  return guard(
      [&] { require(out, "out") = salient::oga::named_token(require(tokenizer, "tokenizer"), "pad_token_id"); });
}
OGA_EXPORT OgaResult* OgaTokenizerGetBotTokenId(const OgaTokenizer* tokenizer, int32_t* out) {
  return guard(
      [&] { require(out, "out") = salient::oga::named_token(require(tokenizer, "tokenizer"), "bot_token_id"); });
}
OGA_EXPORT OgaResult* OgaTokenizerGetEotTokenId(const OgaTokenizer* tokenizer, int32_t* out) {
  return guard(
      [&] { require(out, "out") = salient::oga::named_token(require(tokenizer, "tokenizer"), "eot_token_id"); });
}
OGA_EXPORT OgaResult* OgaTokenizerGetBorTokenId(const OgaTokenizer* tokenizer, int32_t* out) {
  return guard(
      [&] { require(out, "out") = salient::oga::named_token(require(tokenizer, "tokenizer"), "bor_token_id"); });
}
OGA_EXPORT OgaResult* OgaTokenizerGetEorTokenId(const OgaTokenizer* tokenizer, int32_t* out) {
  return guard(
      [&] { require(out, "out") = salient::oga::named_token(require(tokenizer, "tokenizer"), "eor_token_id"); });
}
OGA_EXPORT OgaResult* OgaTokenizerGetEosTokenIds(const OgaTokenizer* tokenizer, const int32_t** out, size_t* count) {
  return guard([&] {
    require(out, "out") = require(tokenizer, "tokenizer").end_tokens.data();
    require(count, "token_count") = tokenizer->end_tokens.size();
  });
}
OGA_EXPORT OgaResult* OgaTokenizerEncode(const OgaTokenizer* tokenizer, const char* text, OgaSequences* sequences) {
  return guard([&] {
    const OgaTokenizer& of = require(tokenizer, "tokenizer");
    require(sequences, "sequences")
        .sequences.push_back(of.tokenizer.encode(&require(text, "text"), of.add_special_tokens));
  });
}
OGA_EXPORT OgaResult* OgaTokenizerEncodeBatch(const OgaTokenizer* tokenizer, const char** strings, size_t count,
                                              OgaTensor** out) {
  return guard([&] {
    require(out, "out");
    const OgaTokenizer& of = require(tokenizer, "tokenizer");
    if (count > 0) require(strings, "strings");
    std::vector<std::vector<int32_t>> all;
    size_t longest = 0;
    for (size_t i = 0; i < count; ++i) {
      all.push_back(of.tokenizer.encode(&require(strings[i], "a string"), of.add_special_tokens));
      longest = std::max(longest, all.back().size());
    }
    auto tensor =
        salient::oga::make_tensor(OgaElementType_int32, {static_cast<int64_t>(count), static_cast<int64_t>(longest)});
    const auto pad = static_cast<int32_t>(salient::oga::model_number(of.config.document, "pad_token_id").value_or(0));
    auto* ids = static_cast<int32_t*>(tensor->data);
    for (auto& row : all) {
      row.resize(longest, pad);
      ids = std::copy(row.begin(), row.end(), ids);
    }
    *out = tensor.release();
  });
}
OGA_EXPORT OgaResult* OgaTokenizerDecode(const OgaTokenizer* tokenizer, const int32_t* tokens, size_t count,
                                         const char** out) {
  return guard([&] {
    require(out, "out");
    const OgaTokenizer& of = require(tokenizer, "tokenizer");
    if (count > 0) require(tokens, "tokens");
    *out = copy_text(of.tokenizer.decode({tokens, count}, of.skip_special_tokens));
  });
}
OGA_EXPORT OgaResult* OgaTokenizerDecodeBatch(const OgaTokenizer* tokenizer, const OgaTensor* tensor,
                                              OgaStringArray** out) {
  return guard([&] {
    require(out, "out");
    const OgaTokenizer& of = require(tokenizer, "tokenizer");
    const OgaTensor& ids = require(tensor, "tensor");
    if (ids.type != OgaElementType_int32 || ids.shape.size() != 2) fail("expected a tensor of int32 with 2 dimensions");
    auto texts = std::make_unique<OgaStringArray>();
    const auto width = static_cast<size_t>(ids.shape[1]);
    for (size_t i = 0; i < static_cast<size_t>(ids.shape[0]); ++i) {
      texts->strings.push_back(
          of.tokenizer.decode({static_cast<const int32_t*>(ids.data) + i * width, width}, of.skip_special_tokens));
    }
    *out = texts.release();
  });
}
OGA_EXPORT OgaResult* OgaTokenizerToTokenId(const OgaTokenizer* tokenizer, const char* text, int32_t* out) {
  return guard([&] {
    require(out, "out") = require(tokenizer, "tokenizer").tokenizer.id_of(&require(text, "text")).value_or(-1);
  });
}
OGA_EXPORT OgaResult* OgaTokenizerApplyChatTemplate(const OgaTokenizer* tokenizer, const char* source,
                                                    const char* messages, const char* tools, bool add_generation_prompt,
                                                    const char** out) {
  return guard([&] {
    require(out, "out") = copy_text(
        salient::oga::apply_template(require(tokenizer, "tokenizer"), source, messages, tools, add_generation_prompt));
  });
}

OGA_EXPORT OgaResult* OgaCreateTokenizerStream(const OgaTokenizer* tokenizer, OgaTokenizerStream** out) {
  return guard([&] {
    const OgaTokenizer& of = require(tokenizer, "tokenizer");
    require(out, "out") = new OgaTokenizerStream{{}, salient::TokenStream(of.tokenizer, of.skip_special_tokens), {}};
  });
}
OGA_EXPORT void OgaDestroyTokenizerStream(OgaTokenizerStream* stream) {
  OgaTokenizerStream::destroy(stream);
}
OGA_EXPORT OgaResult* OgaTokenizerStreamDecode(OgaTokenizerStream* stream, int32_t token, const char** out) {
  return guard([&] {
    require(out, "out");
    OgaTokenizerStream& of = require(stream, "stream");
    of.piece = of.stream.push(token);
    *out = of.piece.c_str();
  });
}
OGA_EXPORT OgaResult* OgaTokenizerApplyChatTemplateWithOptions(const OgaTokenizer* tokenizer, const char* source,
                                                               const char* messages, const char* tools,
                                                               const char* template_kwargs, bool add_generation_prompt,
                                                               const char** out) {
  return guard([&] {
    if (template_kwargs && *template_kwargs && std::string_view(template_kwargs) != "{}") {
      throw salient::Error(salient::ErrorKind::kUnsupported,
                           "template_kwargs: further variables of a template are not supported by this library");
    }
    require(out, "out") = copy_text(
        salient::oga::apply_template(require(tokenizer, "tokenizer"), source, messages, tools, add_generation_prompt));
  });
}
