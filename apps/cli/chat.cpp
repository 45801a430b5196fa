#include <fmt/format.h>

#include <cstdio>
#include <iostream>
#include <string>

#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/model.h"
#include "core/os.h"

namespace salient::cli {

namespace {

int64_t count_words(const std::string& text) {
  int64_t words = 0;
  bool inside = false;
  for (const char c : text) {
    const bool space = c == ' ' || c == '\n' || c == '\t' || c == '\r';
    words += !space && !inside;
    inside = !space;
  }
  return words;
}

/// Asks for a line; false at the end of input. Ctrl-C ends the program here, where there is no reply to stop.
bool read_line(std::string& line) {
  if (core::os::is_terminal(0)) {
    fmt::print("\n> ");
    std::fflush(stdout);
  }
  return static_cast<bool>(std::getline(std::cin, line));
}

void print_speed(const Reply& reply) {
  const double seconds = reply.prompt_seconds + reply.generate_seconds;
  fmt::print(stderr, "[{} tokens, {:.1f} tokens/s, {:.1f} words/s; prompt {} tokens, {} of them known, {:.2f} s{}{}]\n",
             reply.ids.size(), reply.tokens_per_second(), static_cast<double>(count_words(reply.text)) / seconds,
             reply.prompt_tokens, reply.cached_tokens, reply.prompt_seconds, describe_drafts(reply),
             reply.finish == FinishReason::kStop ? "" : fmt::format("; {}", name_of(reply.finish)));
}

void run(const ReplyFlags& flags) {
  const GenerationConfig config = flags.finished_config();
  config.check();
  const Model model(flags.model, flags.options, show_on_terminal(Interrupt().token()));
  const Tokenizer tokenizer = model.tokenizer();
  const ChatTemplate chat = model.chat_template();
  Generator generator(model, config);
  fmt::print(stderr, "Ctrl-C stops a reply; /reset forgets the conversation; Ctrl-D or /exit ends.\n");

  std::vector<Message> history;
  const auto forget = [&] {
    history.clear();
    if (!flags.system.empty()) history.push_back({"system", flags.system});
  };
  forget();
  for (std::string line; read_line(line);) {
    if (line == "/exit") break;
    if (line == "/reset") forget();
    if (line.empty() || line == "/reset") continue;
    history.push_back({"user", line});
    const Interrupt interrupt;
    try {
      const std::vector<int32_t> prompt = tokenizer.encode(chat.render(history), false);
      const Reply reply = generator.reply(
          prompt,
          [](std::string_view piece) {
            fmt::print("{}", piece);
            std::fflush(stdout);
          },
          interrupt.token());
      fmt::print("\n");
      print_speed(reply);
      history.push_back({"assistant", reply.text});
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::kDeviceLost) throw;
      // A conversation that has outgrown the context, say: the turn is dropped and the chat goes on.
      fmt::print(stderr, "salient: {}\n", error.what());
      history.pop_back();
    }
  }
  fmt::print("\n");
}

}  // namespace

void add_chat(CLI::App& program) {
  auto flags = std::make_shared<ReplyFlags>();
  CLI::App* command = program.add_subcommand("chat", "Talk with a model in the terminal");
  flags->add_to(*command);
  command->callback([flags] { run(*flags); });
}

}  // namespace salient::cli
