#pragma once

#include <salient_rust.h>

#include <string>

namespace salient::rust {

/// Copies a text of the crate and gives it back.
inline std::string take(salient_text text) {
  std::string copy(text.data, text.size);
  salient_text_free(text);
  return copy;
}

}  // namespace salient::rust
