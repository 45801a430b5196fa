#include <algorithm>
#include <array>
#include <string_view>
#include <unordered_map>

#include "checkpoint/gguf.h"
#include "checkpoint/gguf_types.h"
#include "core/error.h"

namespace salient::checkpoint {

using core::ErrorKind;
using core::fail;
using nlohmann::json;

namespace {

bool is_token_type(int64_t type, GgufTokenType wanted) {
  return type == static_cast<int64_t>(wanted);
}

json split(const char* pattern) {
  return {{"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}, {"invert", false}};
}

json byte_level(bool use_regex) {
  return {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", use_regex}};
}

json sequence(json steps) {
  return {{"type", "Sequence"}, {"pretokenizers", std::move(steps)}};
}

// How the families cut text into words before merging, as their tokenizer.json files say it.
constexpr const char* kLlama3Words =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| "
    "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|"
    "\\s+(?!\\S)|\\s+";
constexpr const char* kTekkenWords =
    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+|"
    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*|\\p{N}| "
    "?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
constexpr const char* kQwen2Words =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|"
    "\\s+(?!\\S)|\\s+";

/// SmolLM3's files say smaug-bpe.
bool is_llama3(const std::string& pre) {
  return pre == "llama-bpe" || pre == "llama3" || pre == "llama-v3" || pre == "smaug-bpe";
}

/// The pre-tokenizer of the family that a tokenizer.ggml.pre names; null for one that is not known.
json pre_tokenizer_of(const std::string& pre) {
  if (pre == "gpt-2" || pre == "phi-2") return byte_level(true);
  if (pre == "smollm") {
    return sequence({{{"type", "Digits"}, {"individual_digits", true}}, byte_level(true)});
  }
  if (is_llama3(pre)) return sequence({split(kLlama3Words), byte_level(false)});
  if (pre == "tekken") return sequence({split(kTekkenWords), byte_level(false)});
  if (pre == "qwen2") return sequence({split(kQwen2Words), byte_level(false)});
  return nullptr;
}

json make_pre_tokenizer(const GgufFile& gguf) {
  const std::string pre = gguf.string_or("tokenizer.ggml.pre", "gpt-2");
  json pre_tokenizer = pre_tokenizer_of(pre);
  if (!pre_tokenizer.is_null()) return pre_tokenizer;
  fail(ErrorKind::kUnsupported,
       "{}: tokenizer.ggml.pre is \"{}\", which is not supported; expected gpt-2, phi-2, smollm, "
       "llama-bpe, smaug-bpe, tekken or qwen2",
       gguf.file->path().string(), pre);
}

/// How a pre-tokenizer cuts text, without what does not change the cuts.
void add_cuts(const json& step, std::vector<std::string>& cuts) {
  const std::string type = step.value("type", "");
  if (type == "Sequence") {
    for (const json& part : step.value("pretokenizers", json::array())) add_cuts(part, cuts);
  } else if (type == "Split") {
    cuts.push_back(step.value("pattern", json()).dump() + step.value("behavior", "") +
                   (step.value("invert", false) ? " inverted" : ""));
  } else if (type == "Digits") {
    cuts.push_back(step.value("individual_digits", false) ? "each digit" : "digits");
  } else if (type == "ByteLevel") {
    if (step.value("add_prefix_space", true)) cuts.push_back("space before text");
    if (step.value("use_regex", true)) cuts.push_back("gpt-2");
  } else if (!step.is_null()) {
    cuts.push_back(step.dump());
  }
}

const std::vector<std::string>& tokens_of(const GgufFile& gguf) {
  const auto* tokens = gguf.strings("tokenizer.ggml.tokens");
  if (!tokens || tokens->empty()) {
    fail(ErrorKind::kInvalidInput, "{}: tokenizer.ggml.tokens is missing", gguf.file->path().string());
  }
  return *tokens;
}

bool is_sentencepiece(const GgufFile& gguf) {
  return gguf.string("tokenizer.ggml.model") == "llama";
}

json make_added_token(const std::string& content, bool special) {
  return {{"content", content}, {"lstrip", false},      {"normalized", false},
          {"rstrip", false},    {"single_word", false}, {"special", special}};
}

/// True for tokens that swallow the white space behind them: those that a file of ours names, else Phi-3's, whose
/// files do not say so.
bool strips_right(const GgufFile& gguf, int64_t id, const std::string& content, int64_t type) {
  if (const auto* stripping = gguf.integers(kGgufStripsRight)) {
    return std::find(stripping->begin(), stripping->end(), id) != stripping->end();
  }
  if (!is_sentencepiece(gguf) || gguf.string_or("general.architecture", "") != "phi3") return false;
  if (content == "<unk>" || content == "<s>" || content == "<|endoftext|>") return false;
  return is_token_type(type, GgufTokenType::kControl) || content == "</s>";
}

/// Tokens that are matched in the text before anything else, by id.
std::vector<std::pair<int64_t, json>> make_added_tokens(const GgufFile& gguf) {
  const auto& tokens = tokens_of(gguf);
  const auto* types = gguf.integers("tokenizer.ggml.token_type");
  std::vector<std::pair<int64_t, json>> added;
  for (int64_t id = 0; types && id < std::min(std::ssize(*types), std::ssize(tokens)); ++id) {
    const int64_t type = (*types)[id];
    const bool user_defined = is_token_type(type, GgufTokenType::kUserDefined);
    const bool special = is_token_type(type, GgufTokenType::kUnknown) || is_token_type(type, GgufTokenType::kControl);
    if (!special && !user_defined) continue;
    added.emplace_back(id, make_added_token(tokens[id], special));
    added.back().second["rstrip"] = strips_right(gguf, id, tokens[id], type);
  }
  return added;
}

std::string token_at(const GgufFile& gguf, const char* key) {
  if (!gguf.metadata.contains(key)) return {};
  const auto& tokens = tokens_of(gguf);
  const int64_t id = gguf.integer(key);
  if (id < 0 || id >= std::ssize(tokens)) {
    fail(ErrorKind::kInvalidInput, "{}: {} is {}, but there are {} tokens", gguf.file->path().string(), key, id,
         tokens.size());
  }
  return tokens[id];
}

json make_vocab(const std::vector<std::string>& tokens) {
  json vocab = json::object();
  for (size_t id = 0; id < tokens.size(); ++id) vocab.emplace(tokens[id], id);
  return vocab;
}

/// The merges of a SentencePiece vocabulary, which GGUF keeps as scores only: every way to cut a piece into two known
/// pieces, pieces of higher score first, and of one piece the cut whose parts come first in the vocabulary.
json rebuild_merges(const std::vector<std::string>& tokens, const std::vector<double>& scores) {
  struct Merge {
    double score;
    int64_t left;
    int64_t right;
  };
  std::unordered_map<std::string_view, int64_t> ids;
  for (size_t id = 0; id < tokens.size(); ++id) ids.emplace(tokens[id], static_cast<int64_t>(id));
  std::vector<Merge> merges;
  for (size_t id = 0; id < tokens.size(); ++id) {
    const std::string_view piece = tokens[id];
    const auto first = std::ssize(merges);
    for (size_t cut = 1; cut < piece.size(); ++cut) {
      if ((static_cast<unsigned char>(piece[cut]) & 0xc0) == 0x80) continue;  // inside a UTF-8 character
      const auto left = ids.find(piece.substr(0, cut));
      const auto right = ids.find(piece.substr(cut));
      if (left == ids.end() || right == ids.end()) continue;
      merges.push_back({scores[id], left->second, right->second});
    }
    std::sort(merges.begin() + first, merges.end(),
              [](const Merge& a, const Merge& b) { return std::pair(a.left, a.right) < std::pair(b.left, b.right); });
  }
  std::stable_sort(merges.begin(), merges.end(), [](const Merge& a, const Merge& b) { return a.score > b.score; });
  json result = json::array();
  for (const Merge& merge : merges) result.push_back({tokens[merge.left], tokens[merge.right]});
  return result;
}

/// Adds BOS and EOS where the file says so.
json make_post_processor(const GgufFile& gguf, bool bos_by_default) {
  json single = json::array();
  json pair = json::array();
  json special = json::object();
  const auto add = [&](const char* id_key, const char* flag_key, bool otherwise, json& target, const char* type_id) {
    if (!gguf.flag_or(flag_key, otherwise) || !gguf.metadata.contains(id_key)) return;
    const std::string token = token_at(gguf, id_key);
    target.push_back({{"SpecialToken", {{"id", token}, {"type_id", std::string(type_id) == "B" ? 1 : 0}}}});
    special[token] = {{"id", token}, {"ids", {gguf.integer(id_key)}}, {"tokens", {token}}};
  };
  const char* bos = "tokenizer.ggml.bos_token_id";
  const char* eos = "tokenizer.ggml.eos_token_id";
  const char* add_bos = "tokenizer.ggml.add_bos_token";
  const char* add_eos = "tokenizer.ggml.add_eos_token";
  for (const auto& [name, type_id] : {std::pair{"A", 0}, std::pair{"B", 1}}) {
    add(bos, add_bos, bos_by_default, pair, name);
    pair.push_back({{"Sequence", {{"id", name}, {"type_id", type_id}}}});
    add(eos, add_eos, false, pair, name);
    if (type_id == 0) single = pair;
  }
  if (special.empty()) return nullptr;
  return {{"type", "TemplateProcessing"}, {"single", single}, {"pair", pair}, {"special_tokens", special}};
}

json make_byte_level_tokenizer(const GgufFile& gguf) {
  const auto* merges = gguf.strings("tokenizer.ggml.merges");
  if (!merges) fail(ErrorKind::kInvalidInput, "{}: tokenizer.ggml.merges is missing", gguf.file->path().string());
  const std::string pre = gguf.string_or("tokenizer.ggml.pre", "");
  return {
      {"normalizer", pre == "qwen2" ? json{{"type", "NFC"}} : json()},
      {"pre_tokenizer", make_pre_tokenizer(gguf)},
      {"post_processor", make_post_processor(gguf, false)},
      {"decoder", byte_level(true)},
      {"model",
       {{"type", "BPE"},
        {"unk_token", nullptr},
        {"fuse_unk", false},
        {"byte_fallback", false},
        {"ignore_merges", is_llama3(pre) || pre == "tekken"},
        {"vocab", make_vocab(tokens_of(gguf))},
        {"merges", *merges}}},
  };
}

json make_sentencepiece_tokenizer(const GgufFile& gguf) {
  const auto& tokens = tokens_of(gguf);
  const auto* scores = gguf.numbers("tokenizer.ggml.scores");
  if (!scores || scores->size() != tokens.size()) {
    fail(ErrorKind::kInvalidInput, "{}: tokenizer.ggml.scores has {} entries, expected one for each of {} tokens",
         gguf.file->path().string(), scores ? scores->size() : 0, tokens.size());
  }
  const bool add_space = gguf.flag_or("tokenizer.ggml.add_space_prefix", true);
  const json to_underline = {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", "\u2581"}};
  json normalizers = json::array();
  if (add_space) normalizers.push_back({{"type", "Prepend"}, {"prepend", "\u2581"}});
  normalizers.push_back(to_underline);
  json decoders = json::array({{{"type", "Replace"}, {"pattern", {{"String", "\u2581"}}}, {"content", " "}},
                               {{"type", "ByteFallback"}},
                               {{"type", "Fuse"}}});
  if (add_space) decoders.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  const std::string unknown = token_at(gguf, "tokenizer.ggml.unknown_token_id");
  return {
      {"normalizer", {{"type", "Sequence"}, {"normalizers", normalizers}}},
      {"pre_tokenizer", nullptr},
      {"post_processor", make_post_processor(gguf, true)},
      {"decoder", {{"type", "Sequence"}, {"decoders", decoders}}},
      {"model",
       {{"type", "BPE"},
        {"unk_token", unknown.empty() ? json(nullptr) : json(unknown)},
        {"fuse_unk", true},
        {"byte_fallback", true},
        {"ignore_merges", false},
        {"vocab", make_vocab(tokens)},
        {"merges", rebuild_merges(tokens, *scores)}}},
  };
}

}  // namespace

std::string find_pre_tokenizer_name(const json& pre_tokenizer) {
  std::vector<std::string> wanted;
  add_cuts(pre_tokenizer, wanted);
  for (const char* name : {"gpt-2", "smollm", "llama-bpe", "tekken", "qwen2"}) {
    std::vector<std::string> cuts;
    add_cuts(pre_tokenizer_of(name), cuts);
    if (cuts == wanted) return name;
  }
  return {};
}

std::string make_tokenizer_json(const GgufFile& gguf) {
  const std::string model = gguf.string("tokenizer.ggml.model");
  if (model != "gpt2" && model != "llama") {
    fail(ErrorKind::kUnsupported, "{}: tokenizer.ggml.model is \"{}\", which is not supported; expected gpt2 or llama",
         gguf.file->path().string(), model);
  }
  json tokenizer = is_sentencepiece(gguf) ? make_sentencepiece_tokenizer(gguf) : make_byte_level_tokenizer(gguf);
  tokenizer["version"] = "1.0";
  tokenizer["truncation"] = nullptr;
  tokenizer["padding"] = nullptr;
  tokenizer["added_tokens"] = json::array();
  for (auto& [id, token] : make_added_tokens(gguf)) {
    token["id"] = id;
    tokenizer["added_tokens"].push_back(token);
  }
  json& options = tokenizer["model"];
  options["dropout"] = nullptr;
  options["continuing_subword_prefix"] = nullptr;
  options["end_of_word_suffix"] = nullptr;
  return tokenizer.dump(-1, ' ', false, json::error_handler_t::replace);
}

json make_tokenizer_config(const GgufFile& gguf) {
  json config = {{"clean_up_tokenization_spaces", false},
                 {"tokenizer_class", is_sentencepiece(gguf) ? "LlamaTokenizerFast" : "PreTrainedTokenizerFast"},
                 {"added_tokens_decoder", json::object()}};
  for (const auto& [id, token] : make_added_tokens(gguf)) config["added_tokens_decoder"][std::to_string(id)] = token;
  constexpr std::array<std::pair<const char*, const char*>, 4> kNames = {{
      {"bos_token", "tokenizer.ggml.bos_token_id"},
      {"eos_token", "tokenizer.ggml.eos_token_id"},
      {"unk_token", "tokenizer.ggml.unknown_token_id"},
      {"pad_token", "tokenizer.ggml.padding_token_id"},
  }};
  for (const auto& [name, key] : kNames) {
    if (const std::string token = token_at(gguf, key); !token.empty()) config[name] = token;
  }
  if (is_sentencepiece(gguf)) {
    config["add_bos_token"] = gguf.flag_or("tokenizer.ggml.add_bos_token", true);
    config["add_eos_token"] = gguf.flag_or("tokenizer.ggml.add_eos_token", false);
  }
  const std::string context = gguf.string_or("general.architecture", "") + ".context_length";
  if (gguf.metadata.contains(context)) config["model_max_length"] = gguf.integer(context);
  if (const std::string source = gguf.string_or("tokenizer.chat_template", ""); !source.empty()) {
    config["chat_template"] = source;
  }
  return config;
}

}  // namespace salient::checkpoint
