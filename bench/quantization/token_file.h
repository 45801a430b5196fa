#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

namespace salient::bench {

/// The sequences of a file of token ids, one a line. Throws not_found.
std::vector<std::vector<int32_t>> read_token_file(const std::filesystem::path& path);

}  // namespace salient::bench
