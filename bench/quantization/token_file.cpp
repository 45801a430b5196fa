#include "token_file.h"

#include <fstream>
#include <sstream>
#include <string>

#include "core/error.h"

namespace salient::bench {

std::vector<std::vector<int32_t>> read_token_file(const std::filesystem::path& path) {
  std::ifstream file(path);
  if (!file) core::fail(core::ErrorKind::kNotFound, "{}: cannot be opened", path.string());
  std::vector<std::vector<int32_t>> sequences;
  for (std::string line; std::getline(file, line);) {
    std::istringstream numbers(line);
    sequences.emplace_back();
    for (int32_t token = 0; numbers >> token;) sequences.back().push_back(token);
  }
  return sequences;
}

}  // namespace salient::bench
