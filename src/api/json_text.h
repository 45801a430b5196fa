#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace salient::api {

/// A document as reports have it; bytes that are not UTF-8 (in a path, say) are replaced.
inline std::string to_text(const nlohmann::json& document) {
  return document.dump(2, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace salient::api
