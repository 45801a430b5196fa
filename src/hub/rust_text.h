#pragma once

#include <salient_rust.h>

#include <string>

namespace salient::hub {

/// A text of the crate, freed there.
inline std::string take(salient_text text) {
  std::string copy(text.data, text.size);
  salient_text_free(text);
  return copy;
}

}  // namespace salient::hub
