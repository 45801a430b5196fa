#include "serve/reply_writer.h"

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "serve/completion_events.h"
#include "serve/completion_exchange.h"
#include "serve/failure.h"

namespace salient::serve {

namespace {

/// What a process that is killed loses of a reply at most.
constexpr std::chrono::milliseconds kStoreInterval{500};

ChatMessage failed(ChatMessage message, const std::string& error) {
  message.state = "failed";
  message.error = error;
  return message;
}

}  // namespace

void ReplyWriter::Bell::ring(const std::string& message) {
  const std::lock_guard lock(mutex);
  news.insert(message);
  rung.notify_all();
}

ReplyWriter::ReplyWriter(Engine& engine, ChatStore& store)
    : engine_(engine), store_(store), thread_([this](const std::stop_token& stop) { run(stop); }) {}

ReplyWriter::~ReplyWriter() = default;

void ReplyWriter::start(ChatMessage message, size_t model, CompletionRequest request, const std::string& client) {
  const std::string id = message.id;
  Work work;
  work.completion = std::make_unique<CompletionExchange>(engine_, model, std::move(request), client);
  work.reply = std::make_shared<RunningReply>(std::move(message));
  {
    const std::lock_guard lock(mutex_);
    works_.emplace(id, std::move(work));
    // At once, not when the thread comes to it: a server that is asked to end now finishes what it has accepted.
    read_news(id);
  }
  bell_->ring(id);
}

std::shared_ptr<RunningReply> ReplyWriter::find(const std::string& message) {
  const std::lock_guard lock(mutex_);
  const auto found = works_.find(message);
  return found == works_.end() ? nullptr : found->second.reply;
}

void ReplyWriter::stop(const std::string& message) {
  std::unique_lock lock(mutex_);
  const auto found = works_.find(message);
  if (found == works_.end()) return;
  found->second.should_stop = true;
  bell_->ring(message);
  ended_.wait(lock, [&] { return has_ended(message); });
}

/// What there is news of. Waits for some, or until changes are to be stored.
std::set<std::string> ReplyWriter::Bell::wait(const std::stop_token& stop, std::optional<Clock::time_point> until) {
  std::unique_lock lock(mutex);
  const auto is_rung = [&] { return !news.empty(); };
  if (until) {
    rung.wait_until(lock, stop, *until, is_rung);
  } else {
    rung.wait(lock, stop, is_rung);
  }
  return std::exchange(news, {});
}

void ReplyWriter::run(const std::stop_token& stop) {
  std::optional<Clock::time_point> store_at;  // none: nothing has changed
  while (!stop.stop_requested()) {
    const std::set<std::string> news = bell_->wait(stop, store_at);
    const std::lock_guard lock(mutex_);
    for (const std::string& message : news) read_news(message);
    const auto now = Clock::now();
    const auto has = [&](auto what) { return std::any_of(works_.begin(), works_.end(), what); };
    if (!store_at && has([](const auto& one) { return one.second.is_changed; })) store_at = now + kStoreInterval;
    if (!has([](const auto& one) { return one.second.ended.has_value(); }) && !(store_at && now >= *store_at)) continue;
    store_changes();
    store_at = {};
  }
  const std::lock_guard lock(mutex_);
  for (auto& [message, work] : works_) {
    work.should_stop = true;
    read_news(message);
  }
  store_changes();
}

void ReplyWriter::read_news(const std::string& message) {
  const auto found = works_.find(message);
  if (found == works_.end() || found->second.ended) return;
  Work& work = found->second;
  if (work.should_stop) {
    work.ended = work.reply->message();
    work.ended->state = "stopped";
  } else {
    try {
      read_completion(message, work);
    } catch (...) {
      work.ended = failed(work.reply->message(), refusal_of(std::current_exception()).what());
    }
  }
  if (work.ended) work.completion = nullptr;
}

void ReplyWriter::read_completion(const std::string& message, Work& work) {
  if (!std::exchange(work.has_begun, true)) {
    work.completion->on_news([bell = bell_, message] { bell->ring(message); });
  }
  const Exchange::Part part = work.completion->next();
  const CompletionNews news = read_completion_events(std::get<std::string>(part.content));
  if (news.prompt_processed) work.reply->set_progress({*news.prompt_processed, news.prompt_total});
  if (!news.content.empty() || !news.reasoning.empty()) {
    work.reply->grow(news.content, news.reasoning);
    work.is_changed = true;
  }
  if (!part.last) return;
  work.ended = work.reply->message();
  work.ended->state = "complete";
  work.ended->timings = news.timings;
  work.ended->finish_reason = news.finish_reason;
}

/// Followers learn that a reply has ended when that is stored. What cannot be stored has failed.
void ReplyWriter::store_changes() {
  std::vector<ChatMessage> changed;
  for (const auto& [message, work] : works_) {
    if (work.ended || work.is_changed) changed.push_back(work.ended ? *work.ended : work.reply->message());
  }
  std::string failure;
  try {
    store_.update(changed);
  } catch (const std::exception& error) {
    failure = error.what();
  }
  for (auto place = works_.begin(); place != works_.end();) {
    Work& work = place->second;
    const bool was_stored = work.ended || std::exchange(work.is_changed, false);
    if (was_stored && !failure.empty()) {
      work.ended = failed(work.reply->message(), "it could not be stored: " + failure);
    }
    if (work.ended) work.reply->end(*work.ended);
    place = work.ended ? works_.erase(place) : std::next(place);
  }
  ended_.notify_all();
}

}  // namespace salient::serve
