#include "serve/model_exchange.h"

#include <chrono>

namespace salient::serve {

std::shared_ptr<ServedModel> ModelExchange::model() const {
  const bool is_done = loading_.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
  return is_done ? loading_.get() : nullptr;
}

Exchange::Part ModelExchange::next() {
  const auto loaded = model();
  if (!loaded) return {};
  return {work_(*loaded), true};
}

}  // namespace salient::serve
