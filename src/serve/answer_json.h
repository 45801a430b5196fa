#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "generate/generator.h"
#include "generate/log_probabilities.h"
#include "text/tokenizer.h"

namespace salient::serve {

/// As text, with U+FFFD for bytes that are no UTF-8.
std::string dump(const nlohmann::json& json);

/// An event of a stream: "data: ...\n\n".
std::string event(const nlohmann::json& json);

/// What a token adds to a text: "" for one whose bytes are no whole character until others follow.
std::string token_text(const text::Tokenizer& tokenizer, int32_t id);

/// The field logprobs of a chat completion.
nlohmann::json chat_logprobs(const std::vector<generate::LogProbabilities>& tokens, const text::Tokenizer& tokenizer);

/// The field logprobs of a text completion, which may begin with the prompt, and grows.
class TextLogprobs {
 public:
  explicit TextLogprobs(const text::Tokenizer& tokenizer) : tokenizer_(&tokenizer) {}
  /// A token that nothing comes before: its logprob is null.
  void add_first(int32_t id);
  void add(const generate::LogProbabilities& token);
  /// What was added since the last time.
  nlohmann::json take();

 private:
  void add_text(int32_t id);

  const text::Tokenizer* tokenizer_;
  nlohmann::json tokens_ = nlohmann::json::array();
  nlohmann::json token_logprobs_ = nlohmann::json::array();
  nlohmann::json top_logprobs_ = nlohmann::json::array();
  nlohmann::json text_offsets_ = nlohmann::json::array();
  int64_t offset_ = 0;  ///< in characters
};

/// The field usage: each prompt counts once, however many replies it has.
nlohmann::json usage_of(const std::vector<generate::Reply>& replies, int64_t replies_per_prompt);

/// The field timings with llama-server's names.
nlohmann::json timings_of(const generate::Reply& reply);

/// "chatcmpl-" and 24 random characters, for example.
std::string random_id(const std::string& prefix, size_t size = 24);

/// Seconds since 1970.
int64_t unix_time();

}  // namespace salient::serve
