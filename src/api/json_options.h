#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace salient::api {

/// The options of a job as a JSON object, which are read one after the other into the fields of a structure.
class JsonOptions {
 public:
  /// Null: none are given. Throws invalid_input for anything but the text of an object.
  explicit JsonOptions(const char* text);

  /// Leaves the field as it is where the option is not given. Throws invalid_input, naming the option, for another
  /// type and for a number that the field cannot hold.
  void read(const char* name, bool& field);
  void read(const char* name, int& field);
  void read(const char* name, int64_t& field);
  void read(const char* name, uint64_t& field);
  void read(const char* name, std::optional<int>& field);
  void read(const char* name, double& field);
  void read(const char* name, std::string& field);
  void read(const char* name, std::filesystem::path& field);
  void read(const char* name, std::vector<std::string>& field);
  /// To be called after all of `read`: throws invalid_input for an option that none of them asked for, with those they
  /// did.
  void check_names() const;

 private:
  const nlohmann::json* find(const char* name);

  nlohmann::json given_ = nlohmann::json::object();
  std::vector<std::string> known_;
};

}  // namespace salient::api
