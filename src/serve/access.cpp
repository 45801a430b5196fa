#include "serve/access.h"

#include <algorithm>
#include <cctype>

#include "serve/failure.h"

namespace salient::serve {

namespace {

/// Without the port; an IPv6 address keeps its brackets.
std::string_view host_name(std::string_view host) {
  if (host.starts_with('[')) return host.substr(0, host.find(']') + 1);
  return host.substr(0, host.find(':'));
}

bool is_address(std::string_view name) {
  if (name.starts_with('[')) return true;
  return !name.empty() &&
         std::all_of(name.begin(), name.end(), [](unsigned char c) { return std::isdigit(c) || c == '.'; });
}

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return result;
}

bool contains(const std::vector<std::string>& list, std::string_view text) {
  return std::find(list.begin(), list.end(), text) != list.end();
}

bool is_allowed_origin(const AccessRules& rules, std::string_view origin) {
  return contains(rules.cors_origins, "*") || contains(rules.cors_origins, origin);
}

bool is_our_host(const AccessRules& rules, std::string_view host) {
  const std::string name = lower(host_name(host));
  return name == "localhost" || name.ends_with(".localhost") || is_address(name) ||
         std::any_of(rules.allowed_hosts.begin(), rules.allowed_hosts.end(),
                     [&](const std::string& allowed) { return lower(allowed) == name; });
}

/// Browsers ask first without the key, and so do containers for the health. The page itself asks for the key.
bool is_public(const HttpRequest& request) {
  return request.method == "OPTIONS" || request.path == "/health" || request.path == "/" ||
         request.path == "/favicon.svg" || request.path.starts_with("/assets/");
}

void check_key(const AccessRules& rules, const HttpRequest& request) {
  if (rules.api_keys.empty()) return;
  constexpr std::string_view kBearer = "bearer ";
  std::string_view key = request.header("authorization");
  if (lower(key.substr(0, kBearer.size())) == kBearer) {
    key.remove_prefix(kBearer.size());
  } else {
    key = request.header("x-api-key");
  }
  bool known = false;
  for (const std::string& ours : rules.api_keys) known |= equal_in_constant_time(key, ours);
  if (!known) {
    throw Refusal(401, key.empty() ? "an API key is needed: send it as Authorization: Bearer KEY" : "wrong API key", {},
                  "invalid_api_key");
  }
}

}  // namespace

std::string_view HttpRequest::header(const std::string& name) const {
  const auto found = headers.find(name);
  return found == headers.end() ? std::string_view() : found->second;
}

bool is_loopback(std::string_view address) {
  return address == "localhost" || address == "::1" || (address.starts_with("127.") && is_address(address));
}

bool equal_in_constant_time(std::string_view a, std::string_view b) {
  // The length of ours is no secret that a comparison could keep.
  size_t different = a.size() ^ b.size();
  for (size_t i = 0; i < b.size(); ++i) {
    const char other = a.empty() ? '\0' : a[i % a.size()];
    different |= static_cast<unsigned char>(other ^ b[i]);
  }
  return different == 0;
}

void check_access(const AccessRules& rules, const HttpRequest& request) {
  const std::string_view host = request.header("host");
  if (!is_our_host(rules, host)) {
    throw Refusal(403, "this server does not answer for the host \"" + std::string(host) +
                           "\": use its address or localhost, or start it with --allowed-host");
  }
  const std::string_view origin = request.header("origin");
  if (!origin.empty() && !is_allowed_origin(rules, origin)) {
    const auto scheme_end = origin.find("://");
    const bool same = scheme_end != std::string_view::npos && lower(origin.substr(scheme_end + 3)) == lower(host);
    if (!same) throw Refusal(403, "pages of " + std::string(origin) + " may not use this server (see --cors-origin)");
  }
  if (!is_public(request)) check_key(rules, request);
}

std::vector<std::pair<std::string, std::string>> cors_headers(const AccessRules& rules, const HttpRequest& request) {
  const std::string_view origin = request.header("origin");
  if (origin.empty() || !is_allowed_origin(rules, origin)) return {};
  return {{"Access-Control-Allow-Origin", std::string(origin)},
          {"Vary", "Origin"},
          {"Access-Control-Allow-Methods", "GET, POST, PATCH, DELETE, OPTIONS"},
          {"Access-Control-Allow-Headers", "Authorization, Content-Type, X-Api-Key"}};
}

}  // namespace salient::serve
