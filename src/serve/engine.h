#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <filesystem>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "core/thread_pool.h"
#include "serve/metrics.h"
#include "serve/served_model.h"

namespace salient::serve {

/// A model that may be asked for.
struct ModelEntry {
  std::string name;
  std::filesystem::path path;
};

struct EngineOptions {
  ModelOptions model;
  int threads = 0;          ///< 0: all CPUs this process may use
  int64_t most_open = 256;  ///< replies that run or wait, of all models
  int64_t most_loaded = 1;  ///< models in memory; for one more, the one that has been idle longest goes
};

/// The one thread that owns the models and steps their schedulers. A model is loaded when it is first asked for, by a
/// thread of its own, one model at a time, so that others go on meanwhile. All functions may be called from any thread.
class Engine {
 public:
  using Loading = std::shared_future<std::shared_ptr<ServedModel>>;

  Engine(std::vector<ModelEntry> models, EngineOptions options);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  const std::vector<ModelEntry>& models() const { return entries_; }
  /// What a model runs on, or will be put on when it is loaded, as `--device` names it.
  std::string device(size_t model) const;
  /// The index of a model; the first for an empty name and for "default". Throws a Refusal (404) that lists them all.
  size_t find(const std::string& name) const;
  bool is_loaded(size_t model) const;
  /// Whether somebody asked for a model that is not in memory yet.
  bool is_loading(size_t model) const;
  /// Null unless it is in memory.
  std::shared_ptr<const ServedModel> loaded(size_t model) const;
  /// A model that is in memory, or will be: `ready` is called when it is or cannot be, if that is not now.
  Loading load(size_t model, std::function<void()> ready);

  /// Starts replies, all of them or none. Throws Error for a request that cannot be served and a Refusal when there
  /// are too many (429) or the server is shutting down (503).
  void submit(const std::shared_ptr<ServedModel>& model, std::vector<generate::ReplyRequest> requests);

  /// From now on nothing new is taken.
  void drain() { draining_ = true; }
  bool is_draining() const { return draining_; }
  int64_t open_replies() const { return open_; }

  Metrics& metrics() { return metrics_; }
  std::string metrics_text() const;

 private:
  struct Slot {
    Loading loading;  ///< not valid: nobody asked for it
    std::shared_ptr<ServedModel> loaded;
    std::vector<std::function<void()>> waiting;
    int64_t last_use = 0;
    ModelLoad load;
  };
  /// A model that is asked for and not in memory.
  struct Wanted {
    size_t model;
    std::shared_ptr<std::promise<std::shared_ptr<ServedModel>>> promise;
  };
  void run(const std::stop_token& stop);
  void load_next();
  void take_in(const Wanted& wanted, std::shared_ptr<ServedModel> loaded, const std::exception_ptr& failure);
  std::vector<Loading> unload_idle();
  bool step();
  void note_step(const std::shared_ptr<ServedModel>& model, bool stepped);
  void post(std::function<void()> task);
  std::function<void(generate::ReplyUpdate)> measure(std::function<void(generate::ReplyUpdate)> on_update);

  std::vector<ModelEntry> entries_;
  EngineOptions options_;
  core::ThreadPool pool_;
  Metrics metrics_;
  std::atomic<bool> draining_ = false;
  std::atomic<int64_t> open_ = 0;
  mutable std::mutex mutex_;
  std::condition_variable_any wake_;
  std::vector<std::function<void()>> tasks_;
  std::vector<Slot> slots_;
  int64_t uses_ = 0;
  // Of the engine's thread alone: models to load, whether one is being loaded, and those with replies in work.
  std::deque<Wanted> wanted_;
  bool is_loading_ = false;
  std::set<std::shared_ptr<ServedModel>> working_;
  std::jthread loader_;
  std::jthread thread_;  ///< last: it uses all the others
};

}  // namespace salient::serve
