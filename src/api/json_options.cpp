#include "api/json_options.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <type_traits>
#include <utility>

#include "core/error.h"

namespace salient::api {

namespace {

using nlohmann::json;

[[noreturn]] void refuse(const char* name, const json& value, const char* expected) {
  core::fail(core::ErrorKind::kInvalidInput, "options: {} is {}, expected {}", name,
             value.dump(-1, ' ', false, json::error_handler_t::replace), expected);
}

template <typename Whole>
Whole whole(const char* name, const json& value) {
  if (value.is_number_unsigned()) {
    if (std::in_range<Whole>(value.get<uint64_t>())) return value.get<Whole>();
  } else if (value.is_number_integer()) {
    if (std::in_range<Whole>(value.get<int64_t>())) return value.get<Whole>();
  }
  refuse(name, value, std::is_signed_v<Whole> ? "a whole number" : "a whole number of 0 or more");
}

std::string text(const char* name, const json& value) {
  if (!value.is_string()) refuse(name, value, "a text");
  return value.get<std::string>();
}

}  // namespace

JsonOptions::JsonOptions(const char* text) {
  if (!text) return;
  given_ = json::parse(text, nullptr, false);
  if (!given_.is_object()) core::fail(core::ErrorKind::kInvalidInput, "options: expected the text of a JSON object");
}

const json* JsonOptions::find(const char* name) {
  known_.push_back(name);
  const auto found = given_.find(name);
  return found == given_.end() ? nullptr : &*found;
}

void JsonOptions::read(const char* name, bool& field) {
  const json* value = find(name);
  if (!value) return;
  if (!value->is_boolean()) refuse(name, *value, "true or false");
  field = value->get<bool>();
}

void JsonOptions::read(const char* name, int& field) {
  if (const json* value = find(name)) field = whole<int>(name, *value);
}

void JsonOptions::read(const char* name, int64_t& field) {
  if (const json* value = find(name)) field = whole<int64_t>(name, *value);
}

void JsonOptions::read(const char* name, uint64_t& field) {
  if (const json* value = find(name)) field = whole<uint64_t>(name, *value);
}

void JsonOptions::read(const char* name, std::optional<int>& field) {
  if (const json* value = find(name)) field = whole<int>(name, *value);
}

void JsonOptions::read(const char* name, double& field) {
  const json* value = find(name);
  if (!value) return;
  if (!value->is_number()) refuse(name, *value, "a number");
  field = value->get<double>();
}

void JsonOptions::read(const char* name, std::string& field) {
  if (const json* value = find(name)) field = text(name, *value);
}

void JsonOptions::read(const char* name, std::filesystem::path& field) {
  if (const json* value = find(name)) field = text(name, *value);
}

void JsonOptions::read(const char* name, std::vector<std::string>& field) {
  const json* value = find(name);
  if (!value) return;
  if (!value->is_array()) refuse(name, *value, "a list of texts");
  field.clear();
  for (const json& element : *value) field.push_back(text(name, element));
}

void JsonOptions::check_names() const {
  for (const auto& [name, value] : given_.items()) {
    if (std::find(known_.begin(), known_.end(), name) != known_.end()) continue;
    core::fail(core::ErrorKind::kInvalidInput, "options: there is no option \"{}\"; there are {}", name,
               fmt::join(known_, ", "));
  }
}

}  // namespace salient::api
