#include "serve/page_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <string>

#include "serve/http.h"

namespace salient::serve {

namespace {

/// Nothing from elsewhere, nothing inline, nowhere to send anything to.
constexpr const char* kContentSecurityPolicy =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

std::string_view trimmed(std::string_view text) {
  const size_t first = std::min(text.size(), text.find_first_not_of(" \t"));
  text.remove_prefix(first);
  return text.substr(0, text.find_last_not_of(" \t") + 1);
}

/// Whether a list as in Accept-Encoding ("br;q=0.5, gzip") has gzip, and not with q=0.
bool takes_gzip(std::string_view list) {
  while (!list.empty()) {
    const std::string_view item = list.substr(0, list.find(','));
    list.remove_prefix(std::min(list.size(), item.size() + 1));
    const std::string_view name = trimmed(item.substr(0, item.find(';')));
    const size_t weight = item.find("q=");
    const bool is_refused =
        weight != std::string_view::npos && item.find_first_not_of("0. \t", weight + 2) == std::string_view::npos;
    if ((name == "gzip" || name == "*") && !is_refused) return true;
  }
  return false;
}

}  // namespace

HttpAnswer answer_with(const PageFile& file, const HttpRequest& request) {
  HttpAnswer answer;
  answer.content_type = std::string(file.content_type);
  const bool is_compressed = !file.gzip.empty() && takes_gzip(request.header("accept-encoding"));
  const std::string tag = fmt::format("\"{}{}\"", file.hash, is_compressed ? "-gzip" : "");
  // The names of assets have their hash in them; others are asked for again, and may be answered with 304.
  const bool never_changes = file.path.starts_with("/assets/");
  answer.headers = {{"ETag", tag},
                    {"Cache-Control", never_changes ? "public, max-age=31536000, immutable" : "no-cache"},
                    {"Content-Security-Policy", kContentSecurityPolicy},
                    {"Referrer-Policy", "no-referrer"},
                    {"Cross-Origin-Opener-Policy", "same-origin"},
                    {"Cross-Origin-Resource-Policy", "same-origin"},
                    {"Vary", "Accept-Encoding"}};
  if (request.header("if-none-match").find(tag) != std::string_view::npos) {
    answer.status = 304;
    return answer;
  }
  if (is_compressed) answer.headers.emplace_back("Content-Encoding", "gzip");
  answer.body = std::string(is_compressed ? file.gzip : file.bytes);
  return answer;
}

}  // namespace salient::serve
