#include "serve/field_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>

#include "serve/failure.h"

namespace salient::serve {

namespace {

/// A value as an error message shows it.
std::string shown(const nlohmann::json& value) {
  constexpr size_t kMost = 60;
  if (value.is_structured()) return fmt::format("{} of {}", value.type_name(), value.size());
  const std::string text = value.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  return text.size() <= kMost ? text : text.substr(0, kMost) + "...";
}

}  // namespace

FieldReader::FieldReader(const nlohmann::json& object, std::string path) : object_(object), path_(std::move(path)) {
  if (!object.is_object()) {
    throw Refusal(400, fmt::format("{} is {}, expected an object",
                                   path_.empty() ? "the body" : path_.substr(0, path_.size() - 1), shown(object)));
  }
}

bool FieldReader::has(const char* name) {
  return !get(name).is_null();
}

const nlohmann::json& FieldReader::get(const char* name) {
  static const nlohmann::json kNothing;
  known_.insert(name);
  const auto found = object_.find(name);
  return found == object_.end() ? kNothing : *found;
}

const nlohmann::json& FieldReader::require(const char* name) {
  const nlohmann::json& value = get(name);
  if (value.is_null()) throw Refusal(400, fmt::format("{}{} is missing", path_, name), path_ + name);
  return value;
}

void FieldReader::fail(const char* name, const std::string& expected) const {
  throw Refusal(400, fmt::format("{}{} is {}, expected {}", path_, name, shown(object_.at(name)), expected),
                path_ + name);
}

std::string FieldReader::text(const char* name, std::string otherwise) {
  const nlohmann::json& value = get(name);
  if (value.is_null()) return otherwise;
  if (!value.is_string()) fail(name, "a text");
  return value.get<std::string>();
}

bool FieldReader::flag(const char* name, bool otherwise) {
  const nlohmann::json& value = get(name);
  if (value.is_null()) return otherwise;
  if (!value.is_boolean()) fail(name, "true or false");
  return value.get<bool>();
}

std::optional<int64_t> FieldReader::integer(const char* name, int64_t least, int64_t most) {
  const nlohmann::json& value = get(name);
  if (value.is_null()) return std::nullopt;
  const auto fits = [&] {
    if (value.is_number_unsigned()) return value.get<uint64_t>() <= static_cast<uint64_t>(INT64_MAX);
    return value.is_number_integer();
  };
  if (!fits() || value.get<int64_t>() < least || value.get<int64_t>() > most) {
    fail(name, fmt::format("a whole number from {} to {}", least, most));
  }
  return value.get<int64_t>();
}

std::optional<double> FieldReader::number(const char* name, double least, double most) {
  const nlohmann::json& value = get(name);
  if (value.is_null()) return std::nullopt;
  if (!value.is_number() || !(value.get<double>() >= least && value.get<double>() <= most)) {
    fail(name, fmt::format("a number from {} to {}", least, most));
  }
  return value.get<double>();
}

std::vector<std::string> FieldReader::texts(const char* name, size_t most) {
  const nlohmann::json& value = get(name);
  if (value.is_null()) return {};
  if (value.is_string()) return {value.get<std::string>()};
  if (!value.is_array() || value.size() > most) fail(name, fmt::format("a text or a list of at most {}", most));
  std::vector<std::string> result;
  for (const nlohmann::json& item : value) {
    if (!item.is_string()) fail(name, "a list of texts");
    result.push_back(item.get<std::string>());
  }
  return result;
}

bool are_token_ids(const nlohmann::json& value) {
  const auto is_id = [](const nlohmann::json& id) {
    return id.is_number_integer() && id.get<int64_t>() >= 0 && id.get<int64_t>() <= INT32_MAX;
  };
  return value.is_array() && !value.empty() && std::all_of(value.begin(), value.end(), is_id);
}

void FieldReader::ignore(std::initializer_list<const char*> names) {
  known_.insert(names.begin(), names.end());
}

void FieldReader::finish() const {
  for (const auto& [name, value] : object_.items()) {
    if (known_.contains(name) || value.is_null()) continue;
    throw Refusal(400, fmt::format("the field {}{} is not known here", path_, name), path_ + name, "unknown_parameter");
  }
}

}  // namespace salient::serve
