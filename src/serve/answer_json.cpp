#include "serve/answer_json.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <random>
#include <utility>

namespace salient::serve {

namespace {

/// JSON has no infinity; this is what OpenAI's API says instead.
float finite(float logprob) {
  constexpr float kLeast = -9999.0f;
  return std::max(logprob, kLeast);
}

int64_t characters(const std::string& text) {
  return std::count_if(text.begin(), text.end(), [](unsigned char c) { return (c & 0xC0) != 0x80; });
}

nlohmann::json chat_token(const generate::TokenLogProbability& token, const text::Tokenizer& tokenizer) {
  const std::string text = token_text(tokenizer, token.id);
  nlohmann::json bytes;  // null: a part of a character, which text cannot show
  if (text.find("\xef\xbf\xbd") == std::string::npos) {
    bytes = nlohmann::json::array();
    for (const char c : text) bytes.push_back(static_cast<unsigned char>(c));
  }
  return {{"token", text}, {"logprob", finite(token.log_probability)}, {"bytes", std::move(bytes)}};
}

double per_second(int64_t tokens, double seconds) {
  return seconds > 0 ? static_cast<double>(tokens) / seconds : 0;
}

double milliseconds_each(int64_t tokens, double seconds) {
  return tokens > 0 ? seconds * 1000 / static_cast<double>(tokens) : 0;
}

}  // namespace

std::string dump(const nlohmann::json& json) {
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string event(const nlohmann::json& json) {
  return "data: " + dump(json) + "\n\n";
}

std::string token_text(const text::Tokenizer& tokenizer, int32_t id) {
  // Some decoders strip the space of a text's first word, so the second of two is the one to look at.
  const std::string one = tokenizer.decode(std::array{id}, false);
  const std::string two = tokenizer.decode(std::array{id, id}, false);
  return two.size() > one.size() && two.starts_with(one) ? two.substr(one.size()) : one;
}

nlohmann::json chat_logprobs(const std::vector<generate::LogProbabilities>& tokens, const text::Tokenizer& tokenizer) {
  nlohmann::json content = nlohmann::json::array();
  for (const generate::LogProbabilities& token : tokens) {
    nlohmann::json entry = chat_token(token.chosen, tokenizer);
    entry["top_logprobs"] = nlohmann::json::array();
    for (const generate::TokenLogProbability& top : token.top)
      entry["top_logprobs"].push_back(chat_token(top, tokenizer));
    content.push_back(std::move(entry));
  }
  return {{"content", std::move(content)}, {"refusal", nullptr}};
}

void TextLogprobs::add_text(int32_t id) {
  std::string text = token_text(*tokenizer_, id);
  text_offsets_.push_back(offset_);
  offset_ += characters(text);
  tokens_.push_back(std::move(text));
}

void TextLogprobs::add_first(int32_t id) {
  add_text(id);
  token_logprobs_.push_back(nullptr);
  top_logprobs_.push_back(nullptr);
}

void TextLogprobs::add(const generate::LogProbabilities& token) {
  add_text(token.chosen.id);
  token_logprobs_.push_back(finite(token.chosen.log_probability));
  nlohmann::json top = nlohmann::json::object();
  for (const generate::TokenLogProbability& one : token.top) {
    // Different tokens can have one text; the most likely of them comes first.
    const std::string text = token_text(*tokenizer_, one.id);
    if (!top.contains(text)) top[text] = finite(one.log_probability);
  }
  top_logprobs_.push_back(std::move(top));
}

nlohmann::json TextLogprobs::take() {
  const nlohmann::json empty = nlohmann::json::array();
  return {{"tokens", std::exchange(tokens_, empty)},
          {"token_logprobs", std::exchange(token_logprobs_, empty)},
          {"top_logprobs", std::exchange(top_logprobs_, empty)},
          {"text_offset", std::exchange(text_offsets_, empty)}};
}

nlohmann::json usage_of(const std::vector<generate::Reply>& replies, int64_t replies_per_prompt) {
  int64_t prompt = 0;
  int64_t cached = 0;
  int64_t completion = 0;
  for (size_t i = 0; i < replies.size(); ++i) {
    completion += std::ssize(replies[i].ids);
    if (static_cast<int64_t>(i) % replies_per_prompt != 0) continue;
    prompt += replies[i].prompt_tokens;
    cached += replies[i].cached_tokens;
  }
  return {{"prompt_tokens", prompt},
          {"completion_tokens", completion},
          {"total_tokens", prompt + completion},
          {"prompt_tokens_details", {{"cached_tokens", cached}}}};
}

nlohmann::json timings_of(const generate::Reply& reply) {
  const int64_t computed = reply.prompt_tokens - reply.cached_tokens;
  const int64_t predicted = std::ssize(reply.ids);
  return {{"cache_n", reply.cached_tokens},
          {"prompt_n", computed},
          {"prompt_ms", reply.prompt_seconds * 1000},
          {"prompt_per_token_ms", milliseconds_each(computed, reply.prompt_seconds)},
          {"prompt_per_second", per_second(computed, reply.prompt_seconds)},
          {"predicted_n", predicted},
          {"predicted_ms", reply.generate_seconds * 1000},
          {"predicted_per_token_ms", milliseconds_each(predicted - 1, reply.generate_seconds)},
          {"predicted_per_second", reply.tokens_per_second()}};
}

std::string random_id(const std::string& prefix, size_t size) {
  constexpr std::string_view kCharacters = "0123456789abcdefghijklmnopqrstuvwxyz";
  std::random_device device;
  std::uniform_int_distribution<size_t> any(0, kCharacters.size() - 1);
  std::string id = prefix;
  for (size_t i = 0; i < size; ++i) id += kCharacters[any(device)];
  return id;
}

int64_t unix_time() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::seconds>(now).count();
}

}  // namespace salient::serve
