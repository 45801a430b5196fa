#include "evaluate/table.h"

#include <fmt/format.h>

#include <algorithm>

namespace salient::evaluate {

namespace {

/// Characters, not bytes: continuation bytes of UTF-8 take no column.
size_t width_of(const std::string& text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

}  // namespace

std::string format_markdown(const std::vector<std::vector<std::string>>& lines) {
  std::vector<size_t> widths(lines.front().size());
  for (const auto& line : lines) {
    for (size_t i = 0; i < line.size(); ++i) widths[i] = std::max(widths[i], width_of(line[i]));
  }
  std::string table;
  for (size_t l = 0; l < lines.size(); ++l) {
    for (size_t i = 0; i < widths.size(); ++i) {
      table += fmt::format("| {}{:{}} ", lines[l][i], "", widths[i] - width_of(lines[l][i]));
    }
    table += "|\n";
    if (l > 0) continue;
    for (const size_t width : widths) table += fmt::format("|{:-<{}}", "", width + 2);
    table += "|\n";
  }
  return table;
}

}  // namespace salient::evaluate
