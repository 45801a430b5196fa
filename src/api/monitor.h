#pragma once

#include <fmt/format.h>

#include <salient/salient.hpp>
#include <utility>

namespace salient::api {

/// Tells whoever watches what happens, in one line.
template <typename... Args>
void say(const Monitor& monitor, fmt::format_string<Args...> format, Args&&... args) {
  if (monitor.on_message) monitor.on_message(fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace salient::api
