#pragma once

#include <filesystem>
#include <memory>
#include <string>

namespace salient::cli {

/// Reads lines from standard input. In a terminal they can be edited (by libedit, with the bindings of ~/.editrc), and
/// earlier lines, those of earlier runs too, come back with the arrow keys and Ctrl-R. On Windows the console does what
/// it does for every program, and keeps no lines for the next run.
class LineEditor {
 public:
  /// `history` is the file for the lines; empty: they are kept in memory only. Lines that are not typed in a terminal
  /// are not kept.
  explicit LineEditor(const std::filesystem::path& history);
  ~LineEditor();
  LineEditor(const LineEditor&) = delete;
  LineEditor& operator=(const LineEditor&) = delete;

  /// The next line without its end; `prompt` is shown in a terminal. False at the end of input. Ctrl-C ends the
  /// program.
  bool read(const std::string& prompt, std::string& line);

 private:
  class Terminal;
  std::unique_ptr<Terminal> terminal_;  ///< null where standard input is none
};

}  // namespace salient::cli
