#include "serve/completion_exchange.h"

#include <utility>

#include "serve/chat_prompt.h"
#include "serve/failure.h"

namespace salient::serve {

CompletionExchange::CompletionExchange(Engine& engine, size_t model, CompletionRequest request, std::string client)
    : ModelExchange(engine, model, {}),
      request_(std::move(request)),
      client_(std::move(client)),
      id_(random_id(request_.is_chat() ? "chatcmpl-" : "cmpl-")),
      created_(unix_time()),
      start_(std::chrono::steady_clock::now()) {}

void CompletionExchange::on_news(std::function<void()> wake) {
  wake_ = std::move(wake);
  ModelExchange::on_news(wake_);
}

std::vector<int32_t> CompletionExchange::encode(size_t prompt) {
  if (request_.is_chat()) {
    if (!model_->chat_template) {
      throw Refusal(400,
                    engine_.models()[index_].name +
                        " has no chat template, so it is not a chat model: use "
                        "/v1/completions",
                    "model");
    }
    const std::string text = render_chat(*model_->chat_template, request_.messages, request_.tools.json);
    if (!request_.tools.tools.empty()) tool_style_ = &tool_style_of(*model_->chat_template);
    // What must follow a grammar is the answer.
    begins_inside_ = begins_thought(text) && !request_.grammar && !request_.tools.must_call;
    return model_->tokenizer.encode(text, false);
  }
  const auto& given = request_.prompts[prompt];
  if (const auto* ids = std::get_if<std::vector<int32_t>>(&given)) return *ids;
  return model_->tokenizer.encode(std::get<std::string>(given), true);
}

/// What the replies must follow; null: nothing.
std::shared_ptr<generate::GrammarMask> CompletionExchange::make_mask() const {
  std::optional<text::GrammarText> grammar = request_.grammar;
  if (request_.tools.must_call) {
    grammar =
        tool_call_grammar(*tool_style_, model_->tokenizer, request_.tools.must_call_of, request_.tools.most_calls);
  }
  if (!grammar) return nullptr;
  return model_->grammars.compile(*grammar, model_->runner.spec().end_of_sequence);
}

CompletionExchange::Choice CompletionExchange::new_choice() const {
  std::set<std::string> names;
  for (const Tool& tool : request_.tools.tools) names.insert(tool.name);
  return {.text = {},
          .reader = ChatReader(begins_inside_, tool_style_, std::move(names)),
          .parts = {},
          .logprobs = {},
          .text_logprobs = TextLogprobs(model_->tokenizer),
          .reply = {}};
}

void CompletionExchange::start() {
  mailbox_ = std::make_shared<Mailbox>(wake_);
  std::shared_ptr<generate::GrammarMask> mask;
  std::vector<generate::ReplyRequest> replies;
  const size_t prompts = request_.is_chat() ? 1 : request_.prompts.size();
  for (size_t i = 0; i < prompts; ++i) {
    prompts_.push_back(encode(i));
    if (i == 0) mask = make_mask();
    for (int64_t choice = 0; choice < request_.choices; ++choice) {
      generate::ReplyRequest reply;
      reply.prompt = prompts_.back();
      reply.sampling = request_.sampling;
      reply.logit_bias = request_.logit_bias;
      reply.stream = static_cast<uint64_t>(choice);
      reply.max_tokens = request_.max_tokens;
      if (mask) reply.mask = mask->for_another_reply();
      if (tool_style_) reply.spelled = special_marks(*tool_style_, model_->tokenizer);
      reply.stop = request_.stop;
      reply.logprobs = request_.logprobs;
      reply.prompt_logprobs = request_.echo && request_.logprobs;
      reply.client = client_;
      reply.cancelled = stop_.get_token();
      reply.on_update = [mailbox = mailbox_, index = replies.size()](generate::ReplyUpdate update) {
        mailbox->put(index, std::move(update));
      };
      replies.push_back(std::move(reply));
      choices_.push_back(new_choice());
    }
  }
  engine_.submit(model_, std::move(replies));
}

Exchange::Part CompletionExchange::next() {
  if (!model_) {
    model_ = model();
    if (!model_) return {};
    start();
  }
  std::string events;
  for (const auto& [index, update] : mailbox_->take()) {
    if (update.failure) std::rethrow_exception(update.failure);
    if (update.reply && update.reply->finish == generate::FinishReason::kCancelled) {
      throw Refusal(503, "the server is shutting down", {}, "shutting_down");
    }
    events += take(index, update);
  }
  const bool all = ended_ == choices_.size();
  if (!request_.stream) return all ? Part{whole(), true} : Part{};
  if (all) {
    if (request_.include_usage) {
      nlohmann::json last = envelope(nlohmann::json::array(), true);
      last["usage"] = usage();
      events += event(last);
    }
    events += "data: [DONE]\n\n";
  }
  return {std::move(events), all};
}

/// Takes in what a reply has become; for a stream, the chunk that says so.
std::string CompletionExchange::take(size_t index, const generate::ReplyUpdate& update) {
  Choice& choice = choices_[index];
  gather(choice, index, update);
  std::string events = request_.stream ? write_chunk(index, update) : std::string();
  if (update.reply) {
    choice.reply = *update.reply;
    choice.has_ended = true;
    ++ended_;
  }
  return events;
}

std::string CompletionExchange::prompt_text(size_t choice) const {
  const size_t prompt = choice / static_cast<size_t>(request_.choices);
  if (const auto* text = std::get_if<std::string>(&request_.prompts[prompt])) return *text;
  return model_->tokenizer.decode(prompts_[prompt], false);
}

void CompletionExchange::gather(Choice& choice, size_t index, const generate::ReplyUpdate& update) {
  const bool begins = !choice.has_begun && (!update.text.empty() || !update.logprobs.empty() ||
                                            !update.prompt_logprobs.empty() || update.reply);
  if (begins && request_.echo) {
    choice.text += prompt_text(index);
    if (request_.logprobs) choice.text_logprobs.add_first(prompts_[index / static_cast<size_t>(request_.choices)][0]);
  }
  choice.has_begun |= begins && request_.echo;
  if (request_.is_chat()) {
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
  if (!request_.logprobs) return nullptr;
  if (!request_.is_chat()) return choice.text_logprobs.take();
  return chat_logprobs(std::exchange(choice.logprobs, {}), model_->tokenizer);
}

nlohmann::json CompletionExchange::envelope(nlohmann::json choices, bool is_chunk) const {
  const char* kind = !request_.is_chat() ? "text_completion" : is_chunk ? "chat.completion.chunk" : "chat.completion";
  nlohmann::json json = {{"id", id_},
                         {"object", kind},
                         {"created", created_},
                         {"model", engine_.models()[index_].name},
                         {"system_fingerprint", nullptr},
                         {"choices", std::move(choices)}};
  if (is_chunk && request_.include_usage) json["usage"] = nullptr;
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
    if (request_.is_chat()) {
      json["delta"] = std::move(delta);
    } else {
      json["text"] = delta.value("content", "");
    }
    return envelope(nlohmann::json::array({std::move(json)}), true);
  };
  if (request_.is_chat() && !choice.has_begun) {
    choice.has_begun = true;
    events += event(chunk({{"role", "assistant"}, {"content", ""}}, nullptr, nullptr));
  }
  if (request_.return_progress && update.tokens == 0 && !update.reply) {
    const std::chrono::duration<double, std::milli> elapsed = std::chrono::steady_clock::now() - start_;
    nlohmann::json json = chunk(nlohmann::json::object(), nullptr, nullptr);
    json["prompt_progress"] = {{"total", prompts_[index / static_cast<size_t>(request_.choices)].size()},
                               {"processed", update.prompt_done},
                               {"time_ms", elapsed.count()}};
    events += event(json);
  }
  const bool has_logprobs = request_.logprobs && (!update.logprobs.empty() || !update.prompt_logprobs.empty());
  nlohmann::json delta = request_.is_chat() ? to_delta(std::exchange(choice.parts, {}))
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
  return usage_of(replies, request_.choices);
}

HttpAnswer CompletionExchange::whole() {
  nlohmann::json choices = nlohmann::json::array();
  for (size_t i = 0; i < choices_.size(); ++i) {
    nlohmann::json json = {{"index", i},
                           {"logprobs", logprobs_of(choices_[i])},
                           {"finish_reason", finish_of(choices_[i], choices_[i].reply.finish)}};
    if (request_.is_chat()) {
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
