#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

namespace salient::tests {

inline std::string utf8(char32_t character) {
  if (character < 0x80) return {static_cast<char>(character)};
  if (character < 0x800) return {static_cast<char>(0xC0 | character >> 6), static_cast<char>(0x80 | (character & 63))};
  return {static_cast<char>(0xE0 | character >> 12), static_cast<char>(0x80 | (character >> 6 & 63)),
          static_cast<char>(0x80 | (character & 63))};
}

inline nlohmann::json special_token(int32_t id, const std::string& content) {
  return {{"id", id},        {"content", content},  {"single_word", false}, {"lstrip", false},
          {"rstrip", false}, {"normalized", false}, {"special", true}};
}

/// A tokenizer in GPT-2's manner whose ids 0 to 255 are the bytes themselves, with the special token <|end|> as 256.
inline std::string byte_level_tokenizer() {
  nlohmann::json vocab = nlohmann::json::object();
  char32_t next_stand_in = 256;
  for (char32_t byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    vocab[utf8(printable ? byte : next_stand_in++)] = byte;
  }
  const nlohmann::json byte_level = {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", true}};
  return nlohmann::json{{"version", "1.0"},
                        {"added_tokens", {special_token(256, "<|end|>")}},
                        {"normalizer", nullptr},
                        {"pre_tokenizer", byte_level},
                        {"post_processor", nullptr},
                        {"decoder", byte_level},
                        {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", nlohmann::json::array()}}}}
      .dump();
}

/// A tokenizer in sentencepiece's manner, like Llama 2's: <unk>, <s>, </s>, byte b as 3 + b, "▁" as 259, a to z from
/// 260, "▁a" as 286 and U+FFFD as 287. Encoding with special tokens puts <s> before the text; decoding strips the space
/// of the first word.
inline std::string sentencepiece_tokenizer() {
  nlohmann::json vocab = {{"<unk>", 0}, {"<s>", 1}, {"</s>", 2}};
  constexpr const char* kHex = "0123456789ABCDEF";
  for (int byte = 0; byte < 256; ++byte) {
    vocab[std::string("<0x") + kHex[byte / 16] + kHex[byte % 16] + ">"] = 3 + byte;
  }
  vocab["▁"] = 259;
  for (int letter = 0; letter < 26; ++letter) vocab[std::string(1, static_cast<char>('a' + letter))] = 260 + letter;
  vocab["▁a"] = 286;
  vocab["\xef\xbf\xbd"] = 287;
  const auto replace = [](const char* from, const char* to) {
    return nlohmann::json{{"type", "Replace"}, {"pattern", {{"String", from}}}, {"content", to}};
  };
  const nlohmann::json start = {{"SpecialToken", {{"id", "<s>"}, {"type_id", 0}}}};
  const nlohmann::json text = {{"Sequence", {{"id", "A"}, {"type_id", 0}}}};
  const nlohmann::json start_ids = {{"id", "<s>"}, {"ids", {1}}, {"tokens", {"<s>"}}};
  return nlohmann::json{
      {"version", "1.0"},
      {"added_tokens", {special_token(0, "<unk>"), special_token(1, "<s>"), special_token(2, "</s>")}},
      {"normalizer",
       {{"type", "Sequence"},
        {"normalizers", {nlohmann::json{{"type", "Prepend"}, {"prepend", "▁"}}, replace(" ", "▁")}}}},
      {"pre_tokenizer", nullptr},
      {"post_processor",
       {{"type", "TemplateProcessing"},
        {"single", {start, text}},
        {"pair", {start, text}},
        {"special_tokens", {{"<s>", start_ids}}}}},
      {"decoder",
       {{"type", "Sequence"},
        {"decoders",
         {replace("▁", " "), nlohmann::json{{"type", "ByteFallback"}}, nlohmann::json{{"type", "Fuse"}},
          nlohmann::json{{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}}}}}},
      {"model",
       {{"type", "BPE"},
        {"unk_token", "<unk>"},
        {"fuse_unk", true},
        {"byte_fallback", true},
        {"vocab", vocab},
        {"merges", nlohmann::json::array({nlohmann::json::array({"▁", "a"})})}}}}
      .dump();
}

}  // namespace salient::tests
