#include <fmt/format.h>
#include <fmt/ranges.h>

#include <string>
#include <vector>

#include "cli/commands.h"

namespace salient::cli {

namespace {

/// The flags of a command as they are typed: "--model".
std::vector<std::string> flags_of(const CLI::App& command) {
  std::vector<std::string> flags;
  for (const CLI::Option* option : command.get_options()) {
    for (const std::string& name : option->get_lnames()) flags.push_back("--" + name);
  }
  return flags;
}

/// A text within single quotes, for a shell.
std::string quote(const std::string& text) {
  std::string quoted = "'";
  for (const char c : text) quoted += c == '\'' ? "'\\''" : std::string(1, c);
  return quoted + "'";
}

/// For bash, and for zsh in bash's manner. What is no flag may be a file.
std::string bash_script(const CLI::App& program, bool zsh) {
  std::vector<std::string> names;
  std::string cases;
  for (const CLI::App* command : program.get_subcommands({})) {
    names.push_back(command->get_name());
    cases += fmt::format("    {}) words='{}' ;;\n", command->get_name(), fmt::join(flags_of(*command), " "));
  }
  return fmt::format(
      "{}_salient() {{\n"
      "  local words current=${{COMP_WORDS[COMP_CWORD]}}\n"
      "  case ${{COMP_WORDS[1]}} in\n"
      "{}"
      "    *) words='{} {}' ;;\n"
      "  esac\n"
      "  COMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n"
      "}}\n"
      "complete -o default -F _salient salient\n",
      zsh ? "autoload -U +X bashcompinit && bashcompinit\n" : "", cases, fmt::join(names, " "),
      fmt::join(flags_of(program), " "));
}

std::string fish_script(const CLI::App& program) {
  std::string script;
  for (const CLI::App* command : program.get_subcommands({})) {
    script += fmt::format("complete -c salient -n __fish_use_subcommand -a {} -d {}\n", command->get_name(),
                          quote(command->get_description()));
    for (const CLI::Option* option : command->get_options()) {
      for (const std::string& name : option->get_lnames()) {
        script += fmt::format("complete -c salient -n '__fish_seen_subcommand_from {}' -l {} -d {}\n",
                              command->get_name(), name, quote(option->get_description()));
      }
    }
  }
  return script;
}

}  // namespace

void add_completion(CLI::App& program) {
  auto shell = std::make_shared<std::string>();
  CLI::App* command = program.add_subcommand("completion", "Print what makes a shell complete commands and flags");
  command->add_option("SHELL", *shell, "bash, zsh or fish")->required()->check(CLI::IsMember({"bash", "zsh", "fish"}));
  command->footer("For example: salient completion bash > ~/.local/share/bash-completion/completions/salient");
  command->callback([&program, shell] {
    fmt::print("{}", *shell == "fish" ? fish_script(program) : bash_script(program, *shell == "zsh"));
  });
}

}  // namespace salient::cli
