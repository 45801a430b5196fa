#pragma once

#include <salient/salient.h>

#include <span>
#include <string>

#include "api/c_handle.h"

namespace salient::api {

/// What the exception that is being handled is in C: its status, and its sentence for SalientLastError on this thread.
SalientStatus keep_exception() noexcept;

/// Runs the body of a function of the C interface, which no exception leaves.
template <typename Body>
SalientStatus guard(Body&& body) noexcept {
  try {
    body();
    return SALIENT_OK;
  } catch (...) {
    return keep_exception();
  }
}

/// A copy of a text that C frees.
inline char* copy_for_c(const std::string& text) {
  return copy_for_c(std::span(text.c_str(), text.size() + 1));
}

}  // namespace salient::api
