#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace salient::serve {

/// Reads the fields of a JSON object, and then refuses those that nobody asked for. A field that is null is one that is
/// not there. Every failure is a Refusal that names the field.
class FieldReader {
 public:
  /// `path` goes before the names of fields: "stream_options.".
  explicit FieldReader(const nlohmann::json& object, std::string path = {});

  bool has(const char* name);
  /// Null when it is not there.
  const nlohmann::json& get(const char* name);
  const nlohmann::json& require(const char* name);
  std::string text(const char* name, std::string otherwise = {});
  bool flag(const char* name, bool otherwise = false);
  std::optional<int64_t> integer(const char* name, int64_t least, int64_t most);
  std::optional<double> number(const char* name, double least, double most);
  /// A text or a list of texts.
  std::vector<std::string> texts(const char* name, size_t most);

  /// Names of fields that change nothing here, whatever they are.
  void ignore(std::initializer_list<const char*> names);
  /// Throws when there are fields that were not asked for.
  void finish() const;

  /// Throws a Refusal about a field.
  [[noreturn]] void fail(const char* name, const std::string& expected) const;

 private:
  const nlohmann::json& object_;
  std::string path_;
  std::set<std::string> known_;
};

/// Whether a value is a list of numbers that token ids can be, of at least one.
bool are_token_ids(const nlohmann::json& value);

}  // namespace salient::serve
