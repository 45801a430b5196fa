#include "cli/line_editor.h"

#include <fmt/format.h>
#include <histedit.h>

#include <clocale>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <system_error>

#include "core/os.h"

namespace salient::cli {

namespace {

constexpr int kMostLines = 1000;

/// What is typed is UTF-8, also where nobody has set a locale.
void use_utf8() {
  std::setlocale(LC_CTYPE, "");
  if (MB_CUR_MAX == 1) std::setlocale(LC_CTYPE, "C.UTF-8");
}

char* prompt_of(EditLine* editor) {
  void* prompt = nullptr;
  el_get(editor, EL_CLIENTDATA, &prompt);
  return static_cast<std::string*>(prompt)->data();
}

}  // namespace

class LineEditor::Terminal {
 public:
  explicit Terminal(const std::filesystem::path& history) : file_(history), history_(history_init()) {
    use_utf8();
    HistEvent event;
    ::history(history_.get(), &event, H_SETSIZE, kMostLines);
    ::history(history_.get(), &event, H_SETUNIQUE, 1);
    if (!file_.empty() && std::filesystem::exists(file_)) ::history(history_.get(), &event, H_LOAD, file_.c_str());
    editor_.reset(el_init("salient", stdin, stdout, stderr));
    el_set(editor_.get(), EL_CLIENTDATA, &prompt_);
    el_set(editor_.get(), EL_PROMPT, prompt_of);
    el_set(editor_.get(), EL_HIST, ::history, history_.get());
    el_set(editor_.get(), EL_EDITOR, "emacs");
    // The terminal is as it was when a signal ends the program.
    el_set(editor_.get(), EL_SIGNAL, 1);
    for (const auto& [key, what] : {std::pair("^R", "em-inc-search-prev"), std::pair("\\e[3~", "ed-delete-next-char"),
                                    std::pair("\\e[H", "ed-move-to-beg"), std::pair("\\e[F", "ed-move-to-end")}) {
      el_set(editor_.get(), EL_BIND, key, what, nullptr);
    }
    el_source(editor_.get(), nullptr);
  }

  bool read(const std::string& prompt, std::string& line) {
    prompt_ = prompt;
    // Before the prompt is seen: a Ctrl-D that is typed at once would else be taken for a character.
    el_set(editor_.get(), EL_PREP_TERM, 1);
    int size = 0;
    const char* text = el_gets(editor_.get(), &size);
    if (!text || size <= 0) return false;
    line.assign(text, static_cast<size_t>(size));
    while (line.ends_with('\n') || line.ends_with('\r')) line.pop_back();
    if (!line.empty()) keep(line);
    return true;
  }

 private:
  struct End {
    void operator()(EditLine* editor) const { el_end(editor); }
    void operator()(History* history) const { history_end(history); }
  };

  /// Writes the file each time, so that a program that is killed has it too.
  void keep(const std::string& line) {
    HistEvent event;
    ::history(history_.get(), &event, H_ENTER, line.c_str());
    if (file_.empty()) return;
    std::error_code ignored;
    std::filesystem::create_directories(file_.parent_path(), ignored);
    if (::history(history_.get(), &event, H_SAVE, file_.c_str()) >= 0) return;
    fmt::print(stderr, "salient: {} cannot be written, so the lines of this chat are not kept\n", file_.string());
    file_.clear();
  }

  std::filesystem::path file_;
  std::string prompt_;
  std::unique_ptr<History, End> history_;
  std::unique_ptr<EditLine, End> editor_;
};

LineEditor::LineEditor(const std::filesystem::path& history) {
  constexpr int kInput = 0;
  if (core::os::is_terminal(kInput)) terminal_ = std::make_unique<Terminal>(history);
}

LineEditor::~LineEditor() = default;

bool LineEditor::read(const std::string& prompt, std::string& line) {
  return terminal_ ? terminal_->read(prompt, line) : core::os::read_line(line);
}

}  // namespace salient::cli
