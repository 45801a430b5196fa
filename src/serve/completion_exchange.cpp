#include "serve/completion_exchange.h"

#include <utility>

namespace salient::serve {

CompletionExchange::CompletionExchange(Engine& engine, size_t model, CompletionRequest request, std::string client)
    : ReplyExchange(engine, model, std::move(request), std::move(client)),
      id_(random_id(this->request().is_chat() ? "chatcmpl-" : "cmpl-")),
      created_(unix_time()),
      start_(std::chrono::steady_clock::now()) {}

void CompletionExchange::begin(size_t replies) {
  for (size_t i = 0; i < replies; ++i) {
    choices_.push_back({.text = {},
                        .reader = new_reader(),
                        .parts = {},
                        .logprobs = {},
                        .text_logprobs = TextLogprobs(served().tokenizer),
                        .reply = {}});
  }
}

std::string CompletionExchange::take(size_t index, const generate::ReplyUpdate& update) {
  Choice& choice = choices_[index];
  gather(choice, index, update);
  std::string events = request().stream ? write_chunk(index, update) : std::string();
  if (update.reply) choice.reply = *update.reply;
  return events;
}

std::string CompletionExchange::end_stream() {
  std::string events;
  if (request().include_usage) {
    nlohmann::json last = envelope(nlohmann::json::array(), true);
    last["usage"] = usage();
    events = event(last);
  }
  return events + "data: [DONE]\n\n";
}

std::string CompletionExchange::prompt_text(size_t choice) const {
  const size_t prompt = choice / static_cast<size_t>(request().choices);
  if (const auto* text = std::get_if<std::string>(&request().prompts[prompt])) return *text;
  return served().tokenizer.decode(prompt_of(choice), false);
}

void CompletionExchange::gather(Choice& choice, size_t index, const generate::ReplyUpdate& update) {
  const bool begins = !choice.has_begun && (!update.text.empty() || !update.logprobs.empty() ||
                                            !update.prompt_logprobs.empty() || update.reply);
  if (begins && request().echo) {
    choice.text += prompt_text(index);
    if (request().logprobs) choice.text_logprobs.add_first(prompt_of(index)[0]);
  }
  choice.has_begun |= begins && request().echo;
  if (request().is_chat()) {
    choice.parts.add(choice.reader.push(update.text));
    if (update.reply) choice.parts.add(choice.reader.finish());
    choice.logprobs.insert(choice.logprobs.end(), update.logprobs.begin(), update.logprobs.end());
  } else {
    choice.text += update.text;
    for (const auto& token : update.prompt_logprobs) choice.text_logprobs.add(token);
    for (const auto& token : update.logprobs) choice.text_logprobs.add(token);
  }
}

nlohmann::json CompletionExchange::logprobs_of(Choice& choice) {
  if (!request().logprobs) return nullptr;
  if (!request().is_chat()) return choice.text_logprobs.take();
  return chat_logprobs(std::exchange(choice.logprobs, {}), served().tokenizer);
}

nlohmann::json CompletionExchange::envelope(nlohmann::json choices, bool is_chunk) const {
  const char* kind = !request().is_chat() ? "text_completion" : is_chunk ? "chat.completion.chunk" : "chat.completion";
  nlohmann::json json = {{"id", id_},
                         {"object", kind},
                         {"created", created_},
                         {"model", model_name()},
                         {"system_fingerprint", nullptr},
                         {"choices", std::move(choices)}};
  if (is_chunk && request().include_usage) json["usage"] = nullptr;
  return json;
}

const char* CompletionExchange::finish_of(const Choice& choice, generate::FinishReason reason) const {
  const bool calls = reason == generate::FinishReason::kStop && choice.reader.has_calls();
  return calls ? "tool_calls" : name_of(reason);
}

std::string CompletionExchange::write_chunk(size_t index, const generate::ReplyUpdate& update) {
  Choice& choice = choices_[index];
  std::string events;
  const auto chunk = [&](nlohmann::json delta, nlohmann::json logprobs, nlohmann::json finish) {
    nlohmann::json json = {{"index", index}, {"logprobs", std::move(logprobs)}, {"finish_reason", std::move(finish)}};
    if (request().is_chat()) {
      json["delta"] = std::move(delta);
    } else {
      json["text"] = delta.value("content", "");
    }
    return envelope(nlohmann::json::array({std::move(json)}), true);
  };
  if (request().is_chat() && !choice.has_begun) {
    choice.has_begun = true;
    events += event(chunk({{"role", "assistant"}, {"content", ""}}, nullptr, nullptr));
  }
  if (request().return_progress && update.tokens == 0 && !update.reply) {
    const std::chrono::duration<double, std::milli> elapsed = std::chrono::steady_clock::now() - start_;
    nlohmann::json json = chunk(nlohmann::json::object(), nullptr, nullptr);
    json["prompt_progress"] = {
        {"total", prompt_of(index).size()}, {"processed", update.prompt_done}, {"time_ms", elapsed.count()}};
    events += event(json);
  }
  const bool has_logprobs = request().logprobs && (!update.logprobs.empty() || !update.prompt_logprobs.empty());
  nlohmann::json delta = request().is_chat() ? to_delta(std::exchange(choice.parts, {}))
                                             : nlohmann::json{{"content", std::exchange(choice.text, {})}};
  if (has_logprobs || !(delta.empty() || delta.value("content", "-").empty())) {
    events += event(chunk(std::move(delta), logprobs_of(choice), nullptr));
  }
  if (update.reply) {
    nlohmann::json json = chunk(nlohmann::json::object(), nullptr, finish_of(choice, update.reply->finish));
    json["timings"] = timings_of(*update.reply);
    events += event(json);
  }
  return events;
}

nlohmann::json CompletionExchange::usage() const {
  std::vector<generate::Reply> replies;
  for (const Choice& choice : choices_) replies.push_back(choice.reply);
  return usage_of(replies, request().choices);
}

HttpAnswer CompletionExchange::whole() {
  nlohmann::json choices = nlohmann::json::array();
  for (size_t i = 0; i < choices_.size(); ++i) {
    nlohmann::json json = {{"index", i},
                           {"logprobs", logprobs_of(choices_[i])},
                           {"finish_reason", finish_of(choices_[i], choices_[i].reply.finish)}};
    if (request().is_chat()) {
      json["message"] = to_message(choices_[i].parts);
    } else {
      json["text"] = choices_[i].text;
    }
    choices.push_back(std::move(json));
  }
  nlohmann::json json = envelope(std::move(choices), false);
  json["usage"] = usage();
  json["timings"] = timings_of(choices_.front().reply);
  HttpAnswer answer;
  answer.body = dump(json);
  return answer;
}

}  // namespace salient::serve
