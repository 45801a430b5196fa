#pragma once

#include <fmt/ranges.h>

#include <algorithm>
#include <initializer_list>
#include <string>
#include <string_view>

#include "core/error.h"

namespace salient::api {

/// Throws invalid_input, with those that are known, when `word` is none of them.
inline void check_choice(std::string_view option, const std::string& word,
                         std::initializer_list<std::string_view> known) {
  if (std::find(known.begin(), known.end(), word) != known.end()) return;
  core::fail(core::ErrorKind::kInvalidInput, "{} is \"{}\", expected {}", option, word, fmt::join(known, ", "));
}

}  // namespace salient::api
