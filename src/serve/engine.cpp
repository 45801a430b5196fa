#include "serve/engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
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
    auto promise = std::make_shared<std::promise<std::shared_ptr<ServedModel>>>();
    slot.loading = promise->get_future().share();
    tasks_.push_back([this, model, promise] { load_now(model, std::move(*promise)); });
    wake_.notify_all();
  }
  return slot.loading;
}

void Engine::load_now(size_t model, std::promise<std::shared_ptr<ServedModel>> promise) {
  unload_idle();
  std::shared_ptr<ServedModel> loaded;
  std::exception_ptr failure;
  try {
    loaded = std::make_shared<ServedModel>(entries_[model].path, pool_, options_.model);
  } catch (...) {
    failure = std::current_exception();
  }
  std::vector<std::function<void()>> waiting;
  {
    const std::lock_guard lock(mutex_);
    Slot& slot = slots_[model];
    slot.loaded = loaded;
    waiting = std::exchange(slot.waiting, {});
    if (failure) slot.loading = {};  // who asks next tries again
  }
  if (failure) {
    promise.set_exception(failure);
  } else {
    promise.set_value(std::move(loaded));
  }
  for (const auto& ready : waiting) ready();
}

/// Makes room for one more model. One with replies in work stays, and then there are more in memory than wanted.
void Engine::unload_idle() {
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
    if (!idlest) return;
    idlest->loading = {};
    idlest->loaded = nullptr;
    idlest->load.status = {};
  }
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
  post([model, shared] {
    for (generate::ReplyRequest& request : *shared) model->scheduler.submit(std::move(request));
    if (model->runner.is_lost()) fail_all(*model);  // nobody steps it any more
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

/// One step of every model that has something to do; false when none has.
bool Engine::step() {
  bool worked = false;
  for (Slot& slot : slots_) {
    // Only this thread changes it.
    const std::shared_ptr<ServedModel> model = slot.loaded;
    if (!model) continue;
    const bool stepped = model->scheduler.step();
    if (model->runner.is_lost()) {
      give_up(slot);
      continue;
    }
    worked |= stepped;
    const std::lock_guard lock(mutex_);
    slot.load.status = model->scheduler.status();
    if (stepped) slot.load.weight_bytes += static_cast<uint64_t>(model->runner.bytes_per_token());
  }
  return worked;
}

/// A model whose device is gone: what it had to do fails with the sentence, and who asks next has it loaded again.
void Engine::give_up(Slot& slot) {
  fail_all(*slot.loaded);
  const std::lock_guard lock(mutex_);
  slot.loading = {};
  slot.loaded = nullptr;
  slot.load.status = {};
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
