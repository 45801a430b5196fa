#include "evaluate/text_source.h"

#include <vector>

#include "core/error.h"
#include "core/mapped_file.h"
#include "hub/named_text.h"

namespace salient::evaluate {

namespace {

/// Lines with their newlines.
std::vector<std::string_view> lines_of(std::string_view file) {
  std::vector<std::string_view> lines;
  while (!file.empty()) {
    const size_t newline = file.find('\n');
    lines.push_back(file.substr(0, newline == std::string_view::npos ? newline : newline + 1));
    file.remove_prefix(lines.back().size());
  }
  return lines;
}

std::string_view trim(std::string_view line) {
  constexpr std::string_view kSpace = " \t\r\n";
  const size_t begin = line.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return {};
  return line.substr(begin, line.find_last_not_of(kSpace) - begin + 1);
}

std::string read_file(const std::filesystem::path& path) {
  const core::MappedFile file(path);
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

}  // namespace

std::string join_wikitext(std::string_view file) {
  std::string text;
  bool first = true;
  for (const std::string_view line : lines_of(file)) {
    if (!first) text += "\n\n";
    first = false;
    if (!trim(line).empty()) text += line;
  }
  return text;
}

std::string join_ptb(std::string_view file) {
  std::string text;
  bool first = true;
  for (const std::string_view line : lines_of(file)) {
    if (!first) text += "\n\n";
    first = false;
    text += trim(line);
  }
  return text;
}

EvaluationText load_text(const std::string& name, const std::filesystem::path& data_dir, const Recipe& recipe,
                         const core::ProgressCallback& progress, std::stop_token stop) {
  if (name != "wikitext2" && name != "ptb") {
    return {std::filesystem::path(name).filename().string(), read_file(name)};
  }
  const char* split = name == "ptb" && recipe.ptb_validation ? "ptb-validation" : name.c_str();
  const std::string file = read_file(hub::locate_text(split, data_dir, progress, stop));
  if (recipe.join == Join::kAsIs) return {split, file};
  return {split, name == "ptb" ? join_ptb(file) : join_wikitext(file)};
}

}  // namespace salient::evaluate
