#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <set>
#include <string>

namespace salient::model {

/// Typed access to the fields of config.json, with errors that name file and field. It remembers which fields were
/// asked for, so that one that changes the mathematics cannot be overlooked.
class ConfigReader {
 public:
  ConfigReader(const nlohmann::json& config, std::string origin) : config_(config), origin_(std::move(origin)) {}

  const std::string& origin() const { return origin_; }
  /// True when the field is there and not null.
  bool has(const std::string& field) const;
  /// The field, or null.
  nlohmann::json value(const std::string& field) const;

  int64_t size(const std::string& field) const;  ///< a whole number from 1 to 2^31
  int64_t size_or(const std::string& field, int64_t otherwise) const;
  double positive(const std::string& field) const;  ///< a number above 0
  double positive_or(const std::string& field, double otherwise) const;
  bool flag_or(const std::string& field, bool otherwise) const;
  std::string text_or(const std::string& field, const std::string& otherwise) const;
  std::vector<double> numbers(const std::string& field, int64_t count) const;  ///< that many, all above 0

  /// Throws unsupported for the field's value.
  [[noreturn]] void refuse(const std::string& field, const std::string& expected) const;

  /// Throws unsupported for the first field that is known to change the mathematics, was not asked for, and has a value
  /// that does.
  void refuse_what_was_overlooked() const;
  /// Throws unsupported for the first field that was not asked for.
  void refuse_what_was_not_asked_for() const;

 private:
  const nlohmann::json& required(const std::string& field) const;

  const nlohmann::json& config_;
  std::string origin_;
  mutable std::set<std::string> asked_for_;
};

}  // namespace salient::model
