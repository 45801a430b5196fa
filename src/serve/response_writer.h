#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "serve/chat_reader.h"
#include "serve/failure.h"

namespace salient::serve {

/// Writes the object of /v1/responses as its reply grows, and the events of a stream that tell of it: each function
/// returns those of what it did. The output has an item for the thought, for a message and for each call.
class ResponseWriter {
 public:
  /// `response` has all fields but status and output.
  explicit ResponseWriter(nlohmann::json response);

  std::string begin();
  std::string grow(const ChatParts& parts);
  /// The reply has ended; `incomplete` says why too early, and is empty where it did not. A reply without a message or
  /// a call has an empty message.
  std::string finish(const std::string& incomplete, nlohmann::json usage);
  /// The reply will not be written to its end.
  std::string fail(const Refusal& refusal);

  const nlohmann::json& response() const { return response_; }

 private:
  /// The items that hold one part of text.
  struct TextKind {
    const char* item;
    const char* id_prefix;
    const char* part;
    const char* event_prefix;
  };
  static const TextKind kReasoning;
  static const TextKind kMessage;

  nlohmann::json& item() { return response_["output"].back(); }
  nlohmann::json place() const;
  void send(const std::string& type, nlohmann::json fields);
  void send_response(const char* type);
  void open(nlohmann::json item);
  void close(const char* status);
  void close_text();
  void add_text(const TextKind& kind, const std::string& text);
  void add_call(const ToolCallDelta& call);
  std::string take_events();

  nlohmann::json response_;
  std::string events_;
  int64_t sequence_ = 0;
  const TextKind* text_ = nullptr;  ///< of the item that is open, if it is of text
  bool is_open_ = false;            ///< whether the last item is
  size_t call_ = 0;                 ///< which call it is, if it is one
};

}  // namespace salient::serve
