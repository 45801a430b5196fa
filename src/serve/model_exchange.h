#pragma once

#include <functional>
#include <memory>

#include "serve/engine.h"
#include "serve/http.h"

namespace salient::serve {

/// An answer that needs a model in memory: waits until it is there, then answers at once.
class ModelExchange : public Exchange {
 public:
  using Work = std::function<HttpAnswer(ServedModel& model)>;
  ModelExchange(Engine& engine, size_t model, Work work) : engine_(engine), index_(model), work_(std::move(work)) {}

  void on_news(std::function<void()> wake) override {
    wake_ = std::move(wake);
    loading_ = engine_.load(index_, wake_);
  }
  Part next() override;
  bool is_stream() const override { return false; }

 protected:
  /// The model when it is in memory, else nullptr. Throws what kept it from being loaded.
  std::shared_ptr<ServedModel> model() const;

  Engine& engine_;
  size_t index_;
  Engine::Loading loading_;
  std::function<void()> wake_;

 private:
  Work work_;
};

}  // namespace salient::serve
