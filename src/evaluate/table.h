#pragma once

#include <string>
#include <vector>

namespace salient::evaluate {

/// Lines of cells, the first of them the header, as a markdown table whose columns are aligned.
std::string format_markdown(const std::vector<std::vector<std::string>>& lines);

}  // namespace salient::evaluate
