#include "hub/model_name.h"

#include <algorithm>

#include "core/error.h"

namespace salient::hub {

namespace {

constexpr std::string_view kUsualRevision = "main";
constexpr size_t kMostPathBytes = 1024;
constexpr size_t kMostNameBytes = 250;

bool is_name_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
}

/// Whether a hub may call an owner or a model so.
bool is_name(std::string_view text) {
  return !text.empty() && text.size() <= 96 && text.front() != '.' && text.front() != '-' && text.back() != '.' &&
         text.find("..") == std::string_view::npos && text.find("--") == std::string_view::npos &&
         std::all_of(text.begin(), text.end(), is_name_character);
}

/// Cuts off and returns what is before the first `separator`; all of it when there is none.
std::string_view next_part(std::string_view& text, char separator) {
  const size_t end = std::min(text.find(separator), text.size());
  const std::string_view part = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return part;
}

bool stays_inside(std::string_view path) {
  if (path.empty() || path.size() > kMostPathBytes || path.front() == '/' || path.back() == '/') return false;
  for (std::string_view rest = path; !rest.empty();) {
    const std::string_view name = next_part(rest, '/');
    if (name.empty() || name.size() > kMostNameBytes || name == "." || name == "..") return false;
    const bool plain = std::none_of(name.begin(), name.end(), [](char c) {
      return c == '\\' || c == ':' || static_cast<unsigned char>(c) < ' ' || c == '\x7f';
    });
    if (!plain) return false;
  }
  return true;
}

}  // namespace

std::optional<ModelName> parse_model_name(std::string_view text) {
  const std::string_view owner = next_part(text, '/');
  const std::string_view name_and_revision = next_part(text, '/');
  std::string_view revision = name_and_revision;
  const std::string_view name = next_part(revision, '@');
  if (!is_name(owner) || !is_name(name)) return std::nullopt;
  ModelName result;
  result.repository = std::string(owner) + "/" + std::string(name);
  if (name.size() < name_and_revision.size()) {
    result.revision = revision;
    // The only revisions with slashes in them have three parts.
    if (revision == "refs") {
      for (int part = 0; part < 2; ++part) {
        result.revision += '/';
        result.revision += next_part(text, '/');
      }
    }
    if (!stays_inside(result.revision)) return std::nullopt;
  }
  if (text.ends_with('/')) text.remove_suffix(1);
  if (!text.empty() && !stays_inside(text)) return std::nullopt;
  result.path = text;
  return result;
}

std::string to_string(const ModelName& name) {
  return name.repository + (name.revision == kUsualRevision ? "" : "@" + name.revision) +
         (name.path.empty() ? "" : "/" + name.path);
}

void check_relative_path(const std::string& path, const std::string& origin) {
  if (stays_inside(path)) return;
  std::string shown;
  for (const char c : path.substr(0, 200)) shown += static_cast<unsigned char>(c) < ' ' ? '?' : c;
  core::fail(core::ErrorKind::kInvalidInput,
             "{}: the hub names a file \"{}\", expected a path that stays inside the model's folder", origin, shown);
}

}  // namespace salient::hub
