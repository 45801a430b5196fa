#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace salient::serve {

/// Reads one tool call as it arrives, character by character: a JSON object with "name" and "arguments" (or
/// "parameters"), or with both in an object "function". What stands in it besides is skipped.
class ToolCallScanner {
 public:
  enum class State { kOpen, kDone, kBad };

  /// Takes the next character; the first is '{'. Nothing may follow the last.
  State push(char c);
  State state() const { return state_; }

  /// Once it is known.
  const std::optional<std::string>& name() const { return name_; }
  /// What the arguments have grown by, as the model wrote them; nothing before the name is known. Arguments that are a
  /// text are the JSON in it, and those that are missing or null are {}.
  std::string take_arguments();
  /// All characters so far.
  const std::string& raw() const { return raw_; }

 private:
  enum class Expect { kKey, kColon, kValue, kComma };

  bool in_field() const { return brackets_.size() == field_depth_; }
  void read_string_character(char c);
  void end_string();
  void open(char c);
  void close(char c);
  void end_value();
  void begin_value(char c);
  void finish();
  bool streams() const;

  State state_ = State::kOpen;
  std::string raw_;
  std::string brackets_;  ///< that are open
  size_t field_depth_ = 1;
  Expect expect_ = Expect::kKey;
  bool in_string_ = false;
  bool is_escaped_ = false;
  std::string string_;  ///< with its quotes, where it stands among the fields
  std::string key_;
  std::optional<std::string> name_;
  bool in_arguments_ = false;
  bool has_arguments_ = false;
  std::string arguments_;  ///< not taken yet
  std::string space_;      ///< behind them: part of them when they go on
  bool streams_ = false;   ///< whether any were taken
};

}  // namespace salient::serve
