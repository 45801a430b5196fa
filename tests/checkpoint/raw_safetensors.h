#pragma once

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <string>

#include "tests/support/temporary_folder.h"

namespace salient::checkpoint {

/// The bytes of a safetensors file with this header, whatever it says: its length, the text, the data.
inline std::string raw_safetensors(const std::string& header, const std::string& data) {
  const uint64_t size = header.size();
  std::string bytes(sizeof size, '\0');
  std::memcpy(bytes.data(), &size, sizeof size);
  return bytes + header + data;
}

inline void write_raw_safetensors(const std::filesystem::path& path, const std::string& header,
                                  const std::string& data) {
  tests::write_text(path, raw_safetensors(header, data));
}

}  // namespace salient::checkpoint
