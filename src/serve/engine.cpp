#include "serve/engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <iterator>
#include <utility>

#include "serve/failure.h"

namespace salient::serve {

using Clock = std::chrono::steady_clock;

namespace {

/// Lets everything that a lost device has to do fail.
void fail_all(ServedModel& model) {
  while (model.scheduler.step()) {
  }
}

}  // namespace

Engine::Engine(std::vector<ModelEntry> models, EngineOptions options)
    : entries_(std::move(models)), options_(options), pool_(options.threads), slots_(entries_.size()) {
  for (size_t i = 0; i < entries_.size(); ++i) slots_[i].load.name = entries_[i].name;
  thread_ = std::jthread([this](const std::stop_token& stop) { run(stop); });
}

Engine::~Engine() = default;

size_t Engine::find(const std::string& name) const {
  if (name.empty() || name == "default") return 0;
  std::string names;
  for (size_t i = 0; i < entries_.size(); ++i) {
    if (entries_[i].name == name) return i;
    names += (i == 0 ? "" : ", ") + entries_[i].name;
  }
  throw Refusal(404, fmt::format("there is no model \"{}\" here; there are: {}", name, names), "model",
                "model_not_found");
}

bool Engine::is_loaded(size_t model) const {
  return loaded(model) != nullptr;
}

bool Engine::is_loading(size_t model) const {
  const std::lock_guard lock(mutex_);
  return slots_[model].loading.valid() && !slots_[model].loaded;
}

std::string Engine::device(size_t model) const {
  const auto in_memory = loaded(model);
  return in_memory ? in_memory->runner.device() : device::to_string(options_.model.runner.device);
}

std::shared_ptr<const ServedModel> Engine::loaded(size_t model) const {
  const std::lock_guard lock(mutex_);
  return slots_[model].loaded;
}

Engine::Loading Engine::load(size_t model, std::function<void()> ready) {
  const std::lock_guard lock(mutex_);
  Slot& slot = slots_[model];
  slot.last_use = ++uses_;
  if (slot.loaded) return slot.loading;
  slot.waiting.push_back(std::move(ready));
  if (!slot.loading.valid()) {
    const Wanted wanted{model, std::make_shared<std::promise<std::shared_ptr<ServedModel>>>()};
    slot.loading = wanted.promise->get_future().share();
    tasks_.push_back([this, wanted] {
      wanted_.push_back(wanted);
      load_next();
    });
    wake_.notify_all();
  }
  return slot.loading;
}

/// Begins to load the model that has been wanted longest, unless another is being loaded.
void Engine::load_next() {
  if (is_loading_ || wanted_.empty()) return;
  is_loading_ = true;
  const Wanted wanted = wanted_.front();
  wanted_.pop_front();
  loader_ = std::jthread([this, wanted, unloaded = unload_idle()]() mutable {
    unloaded.clear();  // giving back its memory takes a while too
    std::shared_ptr<ServedModel> loaded;
    std::exception_ptr failure;
    try {
      core::ThreadPool packing_pool(options_.threads);
      loaded = std::make_shared<ServedModel>(entries_[wanted.model].path, pool_, packing_pool, options_.model);
      unload_idle();  // one whose last reply was still being given up when this began
    } catch (...) {
      failure = std::current_exception();
    }
    post(
        [this, wanted, loaded = std::move(loaded), failure]() mutable { take_in(wanted, std::move(loaded), failure); });
  });
}

/// Gives a model, or what kept it from being loaded, to those who wait for it.
void Engine::take_in(const Wanted& wanted, std::shared_ptr<ServedModel> loaded, const std::exception_ptr& failure) {
  std::vector<std::function<void()>> waiting;
  {
    const std::lock_guard lock(mutex_);
    Slot& slot = slots_[wanted.model];
    slot.loaded = loaded;
    if (loaded) slot.load.status = loaded->scheduler.status();
    waiting = std::exchange(slot.waiting, {});
    if (failure) slot.loading = {};  // who asks next tries again
  }
  if (failure) {
    wanted.promise->set_exception(failure);
  } else {
    wanted.promise->set_value(std::move(loaded));
  }
  for (const auto& ready : waiting) ready();
  is_loading_ = false;
  load_next();
}

/// Makes room for one more model: gives up those that go with what is returned. One with replies in work stays, and
/// then there are more in memory than wanted.
std::vector<Engine::Loading> Engine::unload_idle() {
  std::vector<Loading> unloaded;
  const std::lock_guard lock(mutex_);
  const auto loaded = [](const Slot& slot) { return slot.loaded != nullptr; };
  while (std::count_if(slots_.begin(), slots_.end(), loaded) >= options_.most_loaded) {
    Slot* idlest = nullptr;
    for (Slot& slot : slots_) {
      // Others hold a model between asking for it and starting replies: the slot and its future are two holders.
      const bool in_use =
          !slot.loaded || slot.loaded.use_count() > 2 || slot.load.status.running > 0 || slot.load.status.waiting > 0;
      if (!in_use && (!idlest || slot.last_use < idlest->last_use)) idlest = &slot;
    }
    if (!idlest) break;
    unloaded.push_back(std::exchange(idlest->loading, {}));
    idlest->loaded = nullptr;
    idlest->load.status = {};
  }
  return unloaded;
}

std::function<void(generate::ReplyUpdate)> Engine::measure(std::function<void(generate::ReplyUpdate)> on_update) {
  return [this, pass_on = std::move(on_update), start = Clock::now(), last = Clock::time_point(),
          tokens = int64_t{0}](generate::ReplyUpdate update) mutable {
    const auto now = Clock::now();
    const auto seconds_since = [&](Clock::time_point then) {
      return std::chrono::duration<double>(now - then).count();
    };
    if (update.tokens > tokens) {
      if (tokens == 0) {
        metrics_.count_first_token(seconds_since(start));
      } else {
        metrics_.count_token(seconds_since(last));
      }
      tokens = update.tokens;
      last = now;
    }
    if (update.reply || update.failure) {
      metrics_.count_reply(seconds_since(start), update.reply ? name_of(update.reply->finish) : "failure");
      --open_;
    }
    pass_on(std::move(update));
  };
}

void Engine::submit(const std::shared_ptr<ServedModel>& model, std::vector<generate::ReplyRequest> requests) {
  for (const generate::ReplyRequest& request : requests) model->scheduler.check(request);
  if (draining_) throw Refusal(503, "the server is shutting down", {}, "shutting_down");
  const int64_t count = std::ssize(requests);
  if (open_.fetch_add(count) + count > options_.most_open) {
    open_ -= count;
    throw Refusal(429, fmt::format("{} replies are in work or wait already: try again later", options_.most_open), {},
                  "queue_full");
  }
  for (generate::ReplyRequest& request : requests) request.on_update = measure(std::move(request.on_update));
  auto shared = std::make_shared<std::vector<generate::ReplyRequest>>(std::move(requests));
  post([this, model, shared] {
    for (generate::ReplyRequest& request : *shared) model->scheduler.submit(std::move(request));
    working_.insert(model);
  });
}

void Engine::post(std::function<void()> task) {
  const std::lock_guard lock(mutex_);
  tasks_.push_back(std::move(task));
  wake_.notify_all();
}

void Engine::run(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    std::vector<std::function<void()>> tasks;
    {
      const std::lock_guard lock(mutex_);
      tasks = std::exchange(tasks_, {});
    }
    for (const auto& task : tasks) task();
    if (step()) continue;
    std::unique_lock lock(mutex_);
    wake_.wait(lock, stop, [&] { return !tasks_.empty(); });
  }
}

/// One step of every model that has something to do; false when none has. A model that had to make room for another
/// after it was given to somebody ends what it was asked all the same.
bool Engine::step() {
  for (auto place = working_.begin(); place != working_.end();) {
    const std::shared_ptr<ServedModel> model = *place;
    bool stepped = model->scheduler.step();
    if (model->runner.is_lost()) {
      fail_all(*model);
      stepped = false;
    }
    note_step(model, stepped);
    place = stepped ? std::next(place) : working_.erase(place);
  }
  return !working_.empty();
}

/// Keeps what metrics say of a model. One whose device is gone is given up: who asks next has it loaded again.
void Engine::note_step(const std::shared_ptr<ServedModel>& model, bool stepped) {
  const std::lock_guard lock(mutex_);
  const auto slot = std::find_if(slots_.begin(), slots_.end(), [&](const Slot& one) { return one.loaded == model; });
  if (slot == slots_.end()) return;
  if (model->runner.is_lost()) {
    slot->loading = {};
    slot->loaded = nullptr;
    slot->load.status = {};
    return;
  }
  slot->load.status = model->scheduler.status();
  if (stepped) slot->load.weight_bytes += static_cast<uint64_t>(model->runner.bytes_per_token());
}

std::string Engine::metrics_text() const {
  std::vector<ModelLoad> loads;
  {
    const std::lock_guard lock(mutex_);
    for (const Slot& slot : slots_) loads.push_back(slot.load);
  }
  return metrics_.text(loads);
}

}  // namespace salient::serve
