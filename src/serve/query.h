#pragma once

#include <map>
#include <string>
#include <string_view>

namespace salient::serve {

/// A part of a URL as text: %20 is a space. What is no escape stays as it is.
std::string percent_decoded(std::string_view text);

/// The fields of a URL's query: "a=1&b=x%20y+z". Of several with one name the last counts.
std::map<std::string, std::string> parse_query(std::string_view query);

}  // namespace salient::serve
