#include "cli/chat_file.h"

#include <algorithm>
#include <array>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "core/atomic_output.h"
#include "core/error.h"

namespace salient::cli {

namespace {

using core::ErrorKind;
using nlohmann::json;

constexpr uintmax_t kMostBytes = 64 << 20;

std::string read_text(const std::filesystem::path& path) {
  if (!std::filesystem::exists(path)) core::fail(ErrorKind::kNotFound, "{}: there is no such file", path.string());
  if (!std::filesystem::is_regular_file(path) || std::filesystem::file_size(path) > kMostBytes) {
    core::fail(ErrorKind::kInvalidInput, "{}: is no file of at most {} bytes", path.string(), kMostBytes);
  }
  std::ifstream stream(path, std::ios::binary);
  std::string text(std::istreambuf_iterator<char>(stream), {});
  if (!stream) core::fail(ErrorKind::kInvalidInput, "{}: cannot be read", path.string());
  return text;
}

/// A field that is a text.
const std::string& text_field(const std::filesystem::path& path, const json& object, const std::string& where,
                              const char* name) {
  const auto found = object.find(name);
  if (found == object.end() || !found->is_string()) {
    core::fail(ErrorKind::kInvalidInput, "{}: {}{} is missing or no text", path.string(), where, name);
  }
  return found->get_ref<const std::string&>();
}

Message read_message(const std::filesystem::path& path, const json& message, size_t index) {
  const std::string where = "messages[" + std::to_string(index) + "].";
  if (!message.is_object()) core::fail(ErrorKind::kInvalidInput, "{}: {}: is no object", path.string(), where);
  Message result{text_field(path, message, where, "role"), text_field(path, message, where, "content")};
  constexpr std::array<std::string_view, 3> kRoles = {"system", "user", "assistant"};
  if (std::find(kRoles.begin(), kRoles.end(), result.role) == kRoles.end()) {
    core::fail(ErrorKind::kInvalidInput, "{}: {}role is \"{}\", expected system, user or assistant", path.string(),
               where, result.role);
  }
  return result;
}

}  // namespace

ChatFile read_chat_file(const std::filesystem::path& path) {
  const json document = json::parse(read_text(path), nullptr, false);
  if (!document.is_object() || !document.contains("messages") || !document["messages"].is_array()) {
    core::fail(ErrorKind::kInvalidInput, "{}: is no conversation, which has \"messages\"", path.string());
  }
  ChatFile chat{text_field(path, document, "", "model"), {}};
  for (size_t i = 0; i < document["messages"].size(); ++i) {
    chat.messages.push_back(read_message(path, document["messages"][i], i));
  }
  return chat;
}

void write_chat_file(const std::filesystem::path& path, const ChatFile& chat) {
  if (std::filesystem::exists(path)) read_chat_file(path);
  nlohmann::ordered_json document = {{"model", chat.model}, {"messages", nlohmann::ordered_json::array()}};
  for (const Message& message : chat.messages) {
    document["messages"].push_back({{"role", message.role}, {"content", message.content}});
  }
  core::AtomicFile file(path);
  file.write(document.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n");
  file.commit();
}

}  // namespace salient::cli
