#include <fmt/format.h>

#include <cstdio>
#include <string>

#include "cli/chat_session.h"
#include "cli/commands.h"
#include "cli/line_editor.h"
#include "cli/model.h"
#include "core/os.h"

namespace salient::cli {

namespace {

constexpr const char* kNoHistory = "off";
constexpr std::string_view kBlock = "\"\"\"";

std::string default_history() {
  const std::filesystem::path folder = core::os::data_folder();
  return folder.empty() ? kNoHistory : (folder / "chat_history").string();
}

/// What the user says.
struct Input {
  std::string text;
  bool is_block = false;  ///< given between three quotation marks
};

/// Reads the rest of a message whose first line begins with three quotation marks: up to a line that ends with them.
bool read_block(LineEditor& editor, std::string& text) {
  text.erase(0, kBlock.size());
  while (!text.ends_with(kBlock)) {
    std::string line;
    if (!editor.read("... ", line)) return false;
    text += "\n" + line;
  }
  text.resize(text.size() - kBlock.size());
  if (text.starts_with('\n')) text.erase(0, 1);
  if (text.ends_with('\n')) text.pop_back();
  return true;
}

/// False at the end of input.
bool read_input(LineEditor& editor, Input& input) {
  constexpr int kInput = 0;
  if (core::os::is_terminal(kInput)) {
    fmt::print("\n");
    std::fflush(stdout);
  }
  if (!editor.read("> ", input.text)) return false;
  input.is_block = input.text.starts_with(kBlock);
  return !input.is_block || read_block(editor, input.text);
}

void run(const ReplyFlags& flags, const std::string& history) {
  ChatSession session(flags);
  LineEditor editor(history == kNoHistory ? std::filesystem::path() : std::filesystem::path(history));
  fmt::print(stderr, "Ctrl-C stops a reply, Ctrl-D or /exit ends; /help shows what else there is.\n");
  for (Input input; read_input(editor, input) && session.take(input.text, !input.is_block);) {
  }
  fmt::print("\n");
}

}  // namespace

void add_chat(CLI::App& program) {
  auto flags = std::make_shared<ReplyFlags>();
  auto history = std::make_shared<std::string>(default_history());
  CLI::App* command = program.add_subcommand("chat", "Talk with a model in the terminal");
  flags->add_to(*command);
  add_option(*command, "--history", *history, "File with the lines typed before, for the arrow keys; off: keep none");
  command->footer(
      "In the chat, /help lists what else it can do, and \"\"\" begins and ends a message of several lines.");
  command->callback([flags, history] { run(*flags, *history); });
}

}  // namespace salient::cli
