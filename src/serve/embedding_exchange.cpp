#include "serve/embedding_exchange.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

#include "serve/answer_json.h"

namespace salient::serve {

namespace {

/// Inputs of one request that are in work at a time: a long list leaves room in the queue for others.
constexpr size_t kMostAtOnce = 16;

void normalize(std::vector<float>& values) {
  double squares = 0;
  for (const float value : values) squares += double{value} * value;
  if (squares == 0) return;
  for (float& value : values) value = static_cast<float>(value / std::sqrt(squares));
}

std::string to_base64(const std::vector<float>& values) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::vector<uint8_t> bytes;
  for (const float value : values) {
    const auto bits = std::bit_cast<uint32_t>(value);
    for (int shift = 0; shift < 32; shift += 8) bytes.push_back(static_cast<uint8_t>(bits >> shift));
  }
  std::string text;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const size_t count = std::min<size_t>(bytes.size() - i, 3);
    uint32_t group = 0;
    for (size_t k = 0; k < 3; ++k) group = group << 8 | (k < count ? bytes[i + k] : 0);
    for (size_t k = 0; k < 4; ++k) text += k <= count ? kDigits[group >> (18 - 6 * k) & 63] : '=';
  }
  return text;
}

}  // namespace

EmbeddingExchange::EmbeddingExchange(Engine& engine, size_t model, EmbeddingRequest request, std::string client)
    : ModelExchange(engine, model, {}), request_(std::move(request)), client_(std::move(client)) {}

/// Checks all inputs before the first is computed.
void EmbeddingExchange::prepare() {
  mailbox_ = std::make_shared<Mailbox>(wake_);
  for (size_t i = 0; i < request_.inputs.size(); ++i) {
    generate::ReplyRequest asked;
    asked.prompt = encode(request_.inputs[i], model_->tokenizer);
    asked.max_tokens = 0;
    asked.wants_embedding = true;
    asked.client = client_;
    asked.cancelled = stop_.get_token();
    asked.on_update = [mailbox = mailbox_, i](generate::ReplyUpdate update) { mailbox->put(i, std::move(update)); };
    model_->scheduler.check(asked);
    tokens_ += std::ssize(asked.prompt);
    waiting_.push_back(std::move(asked));
  }
  embeddings_.resize(waiting_.size());
}

void EmbeddingExchange::submit_more() {
  std::vector<generate::ReplyRequest> next;
  for (; submitted_ < waiting_.size() && submitted_ < ended_ + kMostAtOnce; ++submitted_) {
    next.push_back(std::move(waiting_[submitted_]));
  }
  if (!next.empty()) engine_.submit(model_, std::move(next));
}

Exchange::Part EmbeddingExchange::next() {
  if (!model_) {
    model_ = model();
    if (!model_) return {};
    prepare();
  }
  for (auto& [index, update] : mailbox_->take()) {
    throw_failure(update);
    if (!update.reply) continue;
    embeddings_[index] = update.reply->embedding;
    normalize(embeddings_[index]);
    ++ended_;
  }
  if (ended_ == embeddings_.size()) return {whole(), true};
  submit_more();
  return {};
}

HttpAnswer EmbeddingExchange::whole() const {
  nlohmann::json data = nlohmann::json::array();
  for (size_t i = 0; i < embeddings_.size(); ++i) {
    nlohmann::json one = {{"object", "embedding"}, {"index", i}};
    if (request_.in_base64) {
      one["embedding"] = to_base64(embeddings_[i]);
    } else {
      one["embedding"] = embeddings_[i];
    }
    data.push_back(std::move(one));
  }
  HttpAnswer answer;
  answer.body = dump({{"object", "list"},
                      {"data", std::move(data)},
                      {"model", engine_.models()[index_].name},
                      {"usage", {{"prompt_tokens", tokens_}, {"total_tokens", tokens_}}}});
  return answer;
}

}  // namespace salient::serve
