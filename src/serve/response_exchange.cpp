#include "serve/response_exchange.h"

#include <utility>

#include "serve/answer_json.h"
#include "serve/failure.h"

namespace salient::serve {

namespace {

/// A response of which nothing has been written.
nlohmann::json new_response(nlohmann::json fields, const std::string& model) {
  fields["id"] = random_id("resp_");
  fields["object"] = "response";
  fields["created_at"] = unix_time();
  fields["model"] = model;
  fields["error"] = nullptr;
  fields["incomplete_details"] = nullptr;
  fields["usage"] = nullptr;
  return fields;
}

}  // namespace

ResponseExchange::ResponseExchange(Engine& engine, size_t model, ResponseRequest request, std::string client)
    : ReplyExchange(engine, model, std::move(request.completion), std::move(client)),
      writer_(new_response(std::move(request.repeated), engine.models()[model].name)) {}

void ResponseExchange::begin(size_t) {
  reader_.emplace(new_reader());
}

Exchange::Part ResponseExchange::next() {
  try {
    return ReplyExchange::next();
  } catch (...) {
    if (!has_begun_ || !is_stream()) throw;
    return {writer_.fail(refusal_of(std::current_exception())), true};
  }
}

std::string ResponseExchange::take(size_t, const generate::ReplyUpdate& update) {
  std::string events;
  if (!std::exchange(has_begun_, true)) events = writer_.begin();
  ChatParts parts = reader_->push(update.text);
  if (update.reply) parts.add(reader_->finish());
  thought_ += parts.thought;
  events += writer_.grow(parts);
  if (update.reply) {
    const bool is_cut = update.reply->finish == generate::FinishReason::kLength;
    events += writer_.finish(is_cut ? "max_output_tokens" : "", usage_of(*update.reply));
  }
  return events;
}

nlohmann::json ResponseExchange::usage_of(const generate::Reply& reply) const {
  const int64_t output = std::ssize(reply.ids);
  // How many tokens the thought was is not counted as they come: this is how many its text is.
  const auto thought = std::min<int64_t>(output, std::ssize(served().tokenizer.encode(thought_, false)));
  return {{"input_tokens", reply.prompt_tokens},
          {"input_tokens_details", {{"cached_tokens", reply.cached_tokens}}},
          {"output_tokens", output},
          {"output_tokens_details", {{"reasoning_tokens", thought}}},
          {"total_tokens", reply.prompt_tokens + output}};
}

HttpAnswer ResponseExchange::whole() {
  HttpAnswer answer;
  answer.body = dump(writer_.response());
  return answer;
}

}  // namespace salient::serve
