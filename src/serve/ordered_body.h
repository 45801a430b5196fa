#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

namespace salient::serve {

/// The body of a request with the fields of its objects in the order in which they were written, which JSON schemas
/// mean and `nlohmann::json` forgets. It is read when it is first needed.
class OrderedBody {
 public:
  /// `text` is what `body` was parsed from; empty: the order is the one that `body` has.
  OrderedBody(const nlohmann::json& body, const std::string& text) : body_(body), text_(text) {}

  /// The value there, which must exist. Throws a Refusal when some object has more fields than any schema needs.
  const nlohmann::ordered_json& at(const std::string& pointer);

 private:
  const nlohmann::json& body_;
  const std::string& text_;
  std::optional<nlohmann::ordered_json> ordered_;
};

}  // namespace salient::serve
