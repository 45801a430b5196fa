#pragma once

#include <chrono>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "serve/chat_store.h"
#include "serve/completion_request.h"
#include "serve/engine.h"
#include "serve/http.h"
#include "serve/running_reply.h"

namespace salient::serve {

/// Writes replies into the store, whether or not anyone reads along. A reply is a streamed chat completion whose reader
/// is the one thread of this: it passes on to followers what comes, and stores it several times a second. All functions
/// may be called from any thread.
class ReplyWriter {
 public:
  ReplyWriter(Engine& engine, ChatStore& store);
  /// Replies that are still written are stopped, and stored as they are then.
  ~ReplyWriter();
  ReplyWriter(const ReplyWriter&) = delete;
  ReplyWriter& operator=(const ReplyWriter&) = delete;

  /// Begins to write a message of the store that is in the state "writing".
  void start(ChatMessage message, size_t model, CompletionRequest request, const std::string& client);
  /// Null for a message that is not being written.
  std::shared_ptr<RunningReply> find(const std::string& message);
  /// Ends a reply as "stopped", and returns when that is stored. Does nothing for one that is not being written.
  void stop(const std::string& message);

 private:
  using Clock = std::chrono::steady_clock;
  struct Work {
    std::unique_ptr<Exchange> completion;
    std::shared_ptr<RunningReply> reply;
    bool has_begun = false;
    bool is_changed = false;  ///< since it was stored
    bool should_stop = false;
    std::optional<ChatMessage> ended;  ///< what is still to be stored
  };
  /// What wakes the thread: it outlives the writer in the engine's hands.
  struct Bell {
    std::mutex mutex;
    std::condition_variable_any rung;
    std::set<std::string> news;  ///< messages of which there is something new
    void ring(const std::string& message);
    std::set<std::string> wait(const std::stop_token& stop, std::optional<Clock::time_point> until);
  };

  void run(const std::stop_token& stop);
  void read_news(const std::string& message);
  void read_completion(const std::string& message, Work& work);
  void store_changes();
  bool has_ended(const std::string& message) const { return !works_.contains(message); }

  Engine& engine_;
  ChatStore& store_;
  std::shared_ptr<Bell> bell_ = std::make_shared<Bell>();
  std::mutex mutex_;  ///< of what follows
  std::condition_variable_any ended_;
  std::map<std::string, Work> works_;
  std::jthread thread_;  ///< last: it uses all the others
};

}  // namespace salient::serve
