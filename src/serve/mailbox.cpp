#include "serve/mailbox.h"

#include <exception>
#include <utility>

#include "serve/failure.h"

namespace salient::serve {

namespace {

template <typename T>
void append(std::vector<T>& to, const std::vector<T>& from) {
  to.insert(to.end(), from.begin(), from.end());
}

}  // namespace

void Mailbox::put(size_t reply, generate::ReplyUpdate update) {
  {
    const std::lock_guard lock(mutex_);
    const auto [place, is_first] = updates_.try_emplace(reply);
    generate::ReplyUpdate& all = place->second;
    if (is_first) {
      all = std::move(update);
    } else {
      all.text += update.text;
      append(all.prompt_logprobs, update.prompt_logprobs);
      append(all.logprobs, update.logprobs);
      all.tokens = update.tokens;
      all.prompt_done = update.prompt_done;
      all.reply = std::move(update.reply);
      all.failure = update.failure;
    }
  }
  wake_();
}

std::map<size_t, generate::ReplyUpdate> Mailbox::take() {
  const std::lock_guard lock(mutex_);
  return std::exchange(updates_, {});
}

void throw_failure(const generate::ReplyUpdate& update) {
  if (update.failure) std::rethrow_exception(update.failure);
  if (update.reply && update.reply->finish == generate::FinishReason::kCancelled) {
    throw Refusal(503, "the server is shutting down", {}, "shutting_down");
  }
}

}  // namespace salient::serve
