#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "serve/http.h"

namespace salient::serve {

/// Who may ask.
struct AccessRules {
  std::vector<std::string> api_keys;       ///< one of them is needed where there is any
  std::vector<std::string> allowed_hosts;  ///< names of this server besides localhost and addresses
  std::vector<std::string> cors_origins;   ///< web pages of these origins may use the API; "*": all
};

/// Whether an address to listen on can be reached from this machine only.
bool is_loopback(std::string_view address);

/// Compares in a time that does not tell where the difference is.
bool equal_in_constant_time(std::string_view a, std::string_view b);

/// Throws a Refusal when a request may not be answered: its Host is a name that is not ours, so that a page of a
/// stranger's site may have sent it through a name that points here (DNS rebinding); it comes from a page of another
/// origin; or it has no key.
void check_access(const AccessRules& rules, const HttpRequest& request);

/// The headers that let a page of an allowed origin read an answer; none for others.
std::vector<std::pair<std::string, std::string>> cors_headers(const AccessRules& rules, const HttpRequest& request);

}  // namespace salient::serve
