#include "serve/tool_call_scanner.h"

#include <nlohmann/json.hpp>
#include <utility>

namespace salient::serve {

namespace {

bool is_space(char c) {
  return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

/// The text of a JSON string; nothing when it is none.
std::optional<std::string> text_of(const std::string& json) {
  const nlohmann::json value = nlohmann::json::parse(json, nullptr, false);
  return value.is_string() ? std::optional(value.get<std::string>()) : std::nullopt;
}

}  // namespace

ToolCallScanner::State ToolCallScanner::push(char c) {
  raw_ += c;
  // The character that ends the arguments is not one of them.
  const bool ends_arguments = in_arguments_ && !in_string_ && in_field() && (c == ',' || c == '}');
  if (in_arguments_ && !ends_arguments) {
    if (!in_string_ && is_space(c) && (streams_ || !arguments_.empty())) {
      space_ += c;
    } else if (in_string_ || !is_space(c)) {
      arguments_ += std::exchange(space_, {}) + c;
    }
  }
  if (in_string_) {
    read_string_character(c);
  } else if (c == '{' || c == '[') {
    open(c);
  } else if (c == '}' || c == ']') {
    close(c);
  } else if (in_field() && !is_space(c)) {
    begin_value(c);
  } else if (c == '"') {
    in_string_ = true;
  }
  return state_;
}

void ToolCallScanner::read_string_character(char c) {
  if (in_field()) string_ += c;
  if (is_escaped_) {
    is_escaped_ = false;
  } else if (c == '\\') {
    is_escaped_ = true;
  } else if (c == '"') {
    in_string_ = false;
    if (in_field()) end_string();
  }
}

/// A string among the fields is complete.
void ToolCallScanner::end_string() {
  const auto text = text_of(string_);
  if (!text) {
    state_ = State::kBad;
  } else if (expect_ == Expect::kKey) {
    key_ = *text;
    expect_ = Expect::kColon;
  } else if (key_ == "name") {
    name_ = *text;
  }
}

/// A character among the fields that is no bracket.
void ToolCallScanner::begin_value(char c) {
  const bool is_expected = (expect_ == Expect::kKey && c == '"') || (expect_ == Expect::kColon && c == ':') ||
                           (expect_ == Expect::kComma && c == ',') ||
                           (expect_ == Expect::kValue && c != ':' && (c == ',' || key_ != "name" || c == '"'));
  if (!is_expected) {
    state_ = State::kBad;
    return;
  }
  if (c == '"') {
    in_string_ = true;
    string_ = c;
  }
  if (c == ',') return end_value();
  if (c != ':') return;
  expect_ = Expect::kValue;
  in_arguments_ = key_ == "arguments" || key_ == "parameters";
}

void ToolCallScanner::open(char c) {
  if (in_field() && (expect_ != Expect::kValue || key_ == "name")) {
    state_ = State::kBad;
    return;
  }
  const bool is_function = in_field() && c == '{' && key_ == "function" && field_depth_ == 1;
  brackets_ += c;
  if (!is_function) return;
  field_depth_ = 2;
  expect_ = Expect::kKey;
}

void ToolCallScanner::close(char c) {
  if (brackets_.empty() || brackets_.back() != (c == '}' ? '{' : '[')) {
    state_ = State::kBad;
    return;
  }
  if (in_field()) {
    end_value();
    if (field_depth_ == 2) field_depth_ = 1;
    expect_ = Expect::kComma;
    key_ = "";
  }
  brackets_.pop_back();
  if (brackets_.empty()) finish();
}

/// A field is complete.
void ToolCallScanner::end_value() {
  expect_ = Expect::kKey;
  space_.clear();
  if (!std::exchange(in_arguments_, false)) return;
  if (!streams() && !has_arguments_)
    arguments_ = text_of(arguments_).value_or(arguments_ == "null" ? "{}" : arguments_);
  has_arguments_ = true;
}

void ToolCallScanner::finish() {
  state_ = name_ ? State::kDone : State::kBad;
  if (!has_arguments_) arguments_ = "{}";
  has_arguments_ = true;
}

/// Whether arguments can be handed out before they are complete.
bool ToolCallScanner::streams() const {
  return streams_ || arguments_.starts_with('{') || arguments_.starts_with('[');
}

std::string ToolCallScanner::take_arguments() {
  if (!name_ || !(has_arguments_ || streams())) return {};
  streams_ = true;
  return std::exchange(arguments_, {});
}

}  // namespace salient::serve
