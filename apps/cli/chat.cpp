#include <fmt/format.h>

#include <cstdio>
#include <iostream>
#include <string>

#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/model.h"
#include "core/error.h"
#include "core/os.h"
#include "generate/generator.h"
#include "text/chat_template.h"

namespace salient::cli {

namespace {

struct Flags {
  RunFlags run;
  PrecisionFlags precision;
  SamplingFlags sampling;
  std::string system;
  int64_t max_tokens = 0;
  int64_t context = 0;
  std::string speculate = "on";
};

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

void print_speed(const generate::Reply& reply) {
  const double seconds = reply.prompt_seconds + reply.generate_seconds;
  fmt::print(stderr, "[{} tokens, {:.1f} tokens/s, {:.1f} words/s; prompt {} tokens, {} of them known, {:.2f} s{}{}]\n",
             reply.ids.size(), reply.tokens_per_second(), static_cast<double>(count_words(reply.text)) / seconds,
             reply.prompt_tokens, reply.cached_tokens, reply.prompt_seconds, describe_drafts(reply),
             reply.finish == generate::FinishReason::kStop ? "" : fmt::format("; {}", name_of(reply.finish)));
}

void run(const Flags& flags) {
  generate::check(flags.sampling.options);
  core::ThreadPool pool(flags.run.threads);
  const auto decoder = open_decoder(flags.run.model, Interrupt().token());
  const checkpoint::Checkpoint& checkpoint = decoder->checkpoint();
  const text::Tokenizer tokenizer = open_tokenizer(checkpoint);
  const text::ChatTemplate chat(checkpoint.tokenizer_config, checkpoint.path.string());
  runner::CpuRunnerOptions options{.progress = show_progress_on_terminal()};
  flags.precision.apply_to(options);
  runner::CpuRunner runner(decoder, pool, options);
  say_what_runs(runner, pool.size());
  generate::Generator generator(runner, tokenizer,
                                {.sampling = flags.sampling.options,
                                 .max_tokens = flags.max_tokens,
                                 .context = flags.context,
                                 .speculation = speculation(flags.speculate)});
  fmt::print(stderr, "Ctrl-C stops a reply; /reset forgets the conversation; Ctrl-D or /exit ends.\n");

  std::vector<text::Message> history;
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
      const std::vector<int32_t> prompt = tokenizer.encode(chat.render(history, true), false);
      const generate::Reply reply = generator.reply(
          prompt,
          [](std::string_view piece) {
            fmt::print("{}", piece);
            std::fflush(stdout);
          },
          interrupt.token());
      fmt::print("\n");
      print_speed(reply);
      history.push_back({"assistant", reply.text});
    } catch (const core::Error& error) {
      // A conversation that has outgrown the context, say: the turn is dropped and the chat goes on.
      fmt::print(stderr, "salient: {}\n", error.what());
      history.pop_back();
    }
  }
  fmt::print("\n");
}

}  // namespace

void add_chat(CLI::App& program) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command = program.add_subcommand("chat", "Talk with a model in the terminal");
  flags->run.add_to(*command);
  flags->precision.add_to(*command);
  add_option(*command, "--system", flags->system, "The system message");
  add_option(*command, "--max-tokens", flags->max_tokens, "Longest reply; 0: until the model ends it")
      ->check(at_least(0));
  add_option(*command, "--context", flags->context, "The whole conversation; 0: what the model was trained for")
      ->check(at_least(0));
  flags->sampling.add_to(*command);
  add_speculate_option(*command, flags->speculate);
  command->callback([flags] { run(*flags); });
}

}  // namespace salient::cli
