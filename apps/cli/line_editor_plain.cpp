#include <cstdio>

#include "cli/line_editor.h"
#include "core/os.h"

namespace salient::cli {

/// Windows' consoles edit lines and keep them while they are open.
class LineEditor::Terminal {};

LineEditor::LineEditor(const std::filesystem::path&) {
  constexpr int kInput = 0;
  if (core::os::is_terminal(kInput)) terminal_ = std::make_unique<Terminal>();
}

LineEditor::~LineEditor() = default;

bool LineEditor::read(const std::string& prompt, std::string& line) {
  if (terminal_) {
    std::fputs(prompt.c_str(), stdout);
    std::fflush(stdout);
  }
  return core::os::read_line(line);
}

}  // namespace salient::cli
