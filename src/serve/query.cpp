#include "serve/query.h"

#include <algorithm>
#include <charconv>

namespace salient::serve {

std::string percent_decoded(std::string_view text) {
  std::string decoded;
  for (size_t i = 0; i < text.size(); ++i) {
    unsigned char byte = 0;
    const std::string_view digits = text.substr(i, 3);
    const char* end = digits.data() + digits.size();
    const bool is_escape =
        digits.size() == 3 && digits[0] == '%' && std::from_chars(digits.data() + 1, end, byte, 16).ptr == end;
    decoded += is_escape ? static_cast<char>(byte) : text[i];
    if (is_escape) i += 2;
  }
  return decoded;
}

std::map<std::string, std::string> parse_query(std::string_view query) {
  std::map<std::string, std::string> fields;
  while (!query.empty()) {
    std::string field(query.substr(0, query.find('&')));
    query.remove_prefix(std::min(query.size(), field.size() + 1));
    std::replace(field.begin(), field.end(), '+', ' ');
    const size_t equals = field.find('=');
    if (field.empty()) continue;
    const std::string_view value =
        equals == std::string::npos ? std::string_view() : std::string_view(field).substr(equals + 1);
    fields[percent_decoded(field.substr(0, equals))] = percent_decoded(value);
  }
  return fields;
}

}  // namespace salient::serve
