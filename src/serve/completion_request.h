#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "generate/logit_changes.h"
#include "generate/sampler.h"
#include "serve/prompt_fields.h"
#include "serve/tools_request.h"
#include "text/chat_template.h"
#include "text/grammar.h"

namespace salient::serve {

/// What a chat and a text completion have in common.
struct CompletionRequest {
  std::string model;
  generate::SamplingOptions sampling;
  generate::LogitBias logit_bias;
  std::optional<int64_t> max_tokens;
  std::vector<std::string> stop;
  int64_t choices = 1;              ///< the field n
  std::optional<int64_t> logprobs;  ///< most likely tokens to report beside each
  bool echo = false;                ///< begin with the prompt, with its logprobs where logprobs are asked for
  bool stream = false;
  bool include_usage = false;    ///< a last event with the tokens used
  bool return_progress = false;  ///< events while the prompt is read
  std::string user;

  std::optional<text::GrammarText> grammar;  ///< what the reply must follow

  /// A conversation, or prompts.
  std::vector<text::Message> messages;
  ToolsRequest tools;
  std::vector<Prompt> prompts;
  bool is_chat() const { return !messages.empty(); }
};

/// What requests that do not say otherwise are answered with.
struct RequestDefaults {
  generate::SamplingOptions sampling;
};

/// Parses a body as a JSON object. Throws a Refusal for what is none, or is nested deeper than any request needs.
nlohmann::json parse_body(const std::string& body);

/// Reads the body of /v1/chat/completions. Throws a Refusal that names the field at fault: one of a wrong type or out
/// of range, one that is not known, and one that asks for what this server does not do. `text` is what the body was
/// parsed from: the order of fields, which schemas mean, is taken from there.
CompletionRequest read_chat_request(const nlohmann::json& body, const RequestDefaults& defaults,
                                    const std::string& text = {});

/// Reads the body of /v1/completions.
CompletionRequest read_text_request(const nlohmann::json& body, const RequestDefaults& defaults,
                                    const std::string& text = {});

}  // namespace salient::serve
