#include "serve/ordered_body.h"

#include <fmt/format.h>

#include "serve/failure.h"

namespace salient::serve {

namespace {

/// Fields in their order are looked for one after another, so that the time to read an object grows with the square of
/// their number.
constexpr size_t kMostFields = 1000;

void check_width(const nlohmann::json& json) {
  if (json.is_object() && json.size() > kMostFields) {
    throw Refusal(400, fmt::format("the body has an object of {} fields, more than {}", json.size(), kMostFields));
  }
  if (!json.is_structured()) return;
  for (const nlohmann::json& item : json) check_width(item);
}

}  // namespace

const nlohmann::ordered_json& OrderedBody::at(const std::string& pointer) {
  if (!ordered_) {
    check_width(body_);
    ordered_ = nlohmann::ordered_json::parse(text_.empty() ? body_.dump() : text_);
  }
  return ordered_->at(nlohmann::ordered_json::json_pointer(pointer));
}

}  // namespace salient::serve
