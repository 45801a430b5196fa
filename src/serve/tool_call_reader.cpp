#include "serve/tool_call_reader.h"

#include <algorithm>
#include <utility>

#include "serve/answer_json.h"
#include "serve/thought_splitter.h"

namespace salient::serve {

namespace {

constexpr std::string_view kSpace = " \t\r\n";
/// What stands around calls besides white space: the brackets and commas of a list, and Llama's semicolons.
constexpr std::string_view kAroundCalls = "[],; \t\r\n";

}  // namespace

ToolCallReader::ToolCallReader(const ToolStyle& style, std::set<std::string> names)
    : style_(style), names_(std::move(names)), place_(style.may_begin_bare ? Place::kStart : Place::kText) {}

/// Whether the reply begins with a call without a mark; false while that is not certain.
bool ToolCallReader::start() {
  const size_t begin = held_.find_first_not_of(kSpace);
  if (begin == std::string::npos) return false;
  is_bare_ = held_[begin] == '{';
  place_ = is_bare_ ? Place::kBetweenCalls : Place::kText;
  return true;
}

bool ToolCallReader::read_text(Parts& parts) {
  const size_t mark = held_.find(style_.open);
  const std::string_view before = std::string_view(held_).substr(0, mark);
  // White space before a mark is no text.
  const size_t size = before.size() - open_end(before, mark == std::string::npos ? style_.open : "");
  parts.text += before.substr(0, size);
  opened_ = mark == std::string::npos ? "" : held_.substr(size, mark + style_.open.size() - size);
  held_.erase(0, mark == std::string::npos ? size : mark + style_.open.size());
  if (mark != std::string::npos) place_ = Place::kBetweenCalls;
  return mark != std::string::npos;
}

/// Goes to the next call, or behind the mark that closes calls.
bool ToolCallReader::look_for_call(Parts& parts) {
  const size_t begin = std::min(held_.find_first_not_of(kAroundCalls), held_.size());
  opened_ += held_.substr(0, begin);
  held_.erase(0, begin);
  if (held_.empty()) return false;
  if (held_.front() == '{') {
    scanner_.emplace();
    is_reported_ = false;
    place_ = Place::kCall;
    return true;
  }
  if (!style_.close.empty() && held_.size() < style_.close.size() && style_.close.starts_with(held_)) return false;
  if (!style_.close.empty() && held_.starts_with(style_.close)) {
    held_.erase(0, style_.close.size());
    place_ = Place::kAfterCalls;
    return true;
  }
  give_up(parts);
  return true;
}

/// What was taken for calls is text, and so is all that follows where no other mark stands.
void ToolCallReader::give_up(Parts& parts) {
  parts.text += std::exchange(opened_, {});
  if (scanner_) parts.text += scanner_->raw();
  scanner_.reset();
  place_ = is_bare_ ? Place::kNoCalls : Place::kText;
}

/// The call being read, as far as it is certain to be one.
void ToolCallReader::report(Parts& parts) {
  if (!scanner_->name() || (is_bare_ && !names_.contains(*scanner_->name()))) return;
  std::string arguments = scanner_->take_arguments();
  if (is_reported_ && arguments.empty()) return;
  ToolCallDelta delta{.index = is_reported_ ? calls_ - 1 : calls_, .arguments = std::move(arguments)};
  if (!is_reported_) {
    delta.id = random_id(std::string(style_.id_prefix), style_.id_size);
    delta.name = *scanner_->name();
    is_reported_ = true;
    ++calls_;
    opened_.clear();
  }
  parts.calls.push_back(std::move(delta));
}

bool ToolCallReader::read_call(Parts& parts) {
  size_t read = 0;
  while (read < held_.size() && scanner_->state() == ToolCallScanner::State::kOpen) scanner_->push(held_[read++]);
  held_.erase(0, read);
  if (scanner_->state() != ToolCallScanner::State::kBad) report(parts);
  if (scanner_->state() == ToolCallScanner::State::kOpen) return false;
  if (is_reported_) {
    scanner_.reset();
    place_ = Place::kBetweenCalls;
  } else {
    give_up(parts);
  }
  return true;
}

/// Goes from one place to the next; false when more has to arrive first.
bool ToolCallReader::go_on(Parts& parts) {
  switch (place_) {
    case Place::kStart:
      return start();
    case Place::kText:
      return read_text(parts);
    case Place::kBetweenCalls:
      return look_for_call(parts);
    case Place::kCall:
      return read_call(parts);
    case Place::kAfterCalls:
      held_.erase(0, std::min(held_.find_first_not_of(kSpace), held_.size()));
      if (!held_.empty()) place_ = Place::kText;
      return !held_.empty();
    case Place::kNoCalls:
      parts.text += std::exchange(held_, {});
      break;
  }
  return false;
}

ToolCallReader::Parts ToolCallReader::push(std::string_view piece) {
  held_ += piece;
  Parts parts;
  while (go_on(parts)) {
  }
  return parts;
}

ToolCallReader::Parts ToolCallReader::finish() {
  Parts parts;
  const bool in_calls = place_ == Place::kBetweenCalls || place_ == Place::kCall;
  if (in_calls && !is_reported_) give_up(parts);
  if (!in_calls || !is_reported_) parts.text += std::exchange(held_, {});
  return parts;
}

}  // namespace salient::serve
