#include "serve/mailbox.h"

#include <utility>

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

}  // namespace salient::serve
