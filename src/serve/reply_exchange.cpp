#include "serve/reply_exchange.h"

#include <utility>

#include "serve/chat_prompt.h"
#include "serve/failure.h"

namespace salient::serve {

ReplyExchange::ReplyExchange(Engine& engine, size_t model, CompletionRequest request, std::string client)
    : ModelExchange(engine, model, {}), request_(std::move(request)), client_(std::move(client)) {}

std::vector<int32_t> ReplyExchange::encode_prompt(size_t prompt) {
  if (request_.is_chat()) {
    if (!model_->chat_template) {
      throw Refusal(400, model_name() + " has no chat template, so it is not a chat model: use /v1/completions",
                    "model");
    }
    const std::string text = render_chat(*model_->chat_template, request_.messages, request_.tools.json);
    if (!request_.tools.tools.empty()) tool_style_ = &tool_style_of(*model_->chat_template);
    // What must follow a grammar is the answer.
    begins_inside_ = begins_thought(text) && !request_.grammar && !request_.tools.must_call;
    return model_->tokenizer.encode(text, false);
  }
  return encode(request_.prompts[prompt], model_->tokenizer);
}

/// What the replies must follow; null: nothing.
std::shared_ptr<generate::GrammarMask> ReplyExchange::make_mask() const {
  std::optional<text::GrammarText> grammar = request_.grammar;
  if (request_.tools.must_call) {
    grammar =
        tool_call_grammar(*tool_style_, model_->tokenizer, request_.tools.must_call_of, request_.tools.most_calls);
  }
  if (!grammar) return nullptr;
  return model_->grammars.compile(*grammar, model_->runner.spec().end_of_sequence);
}

ChatReader ReplyExchange::new_reader() const {
  std::set<std::string> names;
  for (const Tool& tool : request_.tools.tools) names.insert(tool.name);
  return {begins_inside_, tool_style_, std::move(names)};
}

void ReplyExchange::start() {
  mailbox_ = std::make_shared<Mailbox>(wake_);
  std::shared_ptr<generate::GrammarMask> mask;
  std::vector<generate::ReplyRequest> replies;
  const size_t prompts = request_.is_chat() ? 1 : request_.prompts.size();
  for (size_t i = 0; i < prompts; ++i) {
    prompts_.push_back(encode_prompt(i));
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
    }
  }
  replies_ = replies.size();
  begin(replies_);
  engine_.submit(model_, std::move(replies));
}

Exchange::Part ReplyExchange::next() {
  if (!model_) {
    model_ = model();
    if (!model_) return {};
    start();
  }
  std::string events;
  for (const auto& [index, update] : mailbox_->take()) {
    throw_failure(update);
    events += take(index, update);
    if (update.reply) ++ended_;
  }
  const bool all = ended_ == replies_;
  if (!request_.stream) return all ? Part{whole(), true} : Part{};
  if (all) events += end_stream();
  return {std::move(events), all};
}

}  // namespace salient::serve
