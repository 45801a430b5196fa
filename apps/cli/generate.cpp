#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/model.h"

namespace salient::cli {

namespace {

struct Flags {
  ReplyFlags reply;
  std::string prompt;
  bool chat_template = false;
  bool json = false;
};

/// The prompt as given, or as one turn of a chat.
std::vector<int32_t> encode_prompt(const Flags& flags, const Model& model) {
  const Tokenizer tokenizer = model.tokenizer();
  if (!flags.chat_template && flags.reply.system.empty()) return tokenizer.encode(flags.prompt);
  std::vector<Message> messages;
  if (!flags.reply.system.empty()) messages.push_back({"system", flags.reply.system});
  messages.push_back({"user", flags.prompt});
  return tokenizer.encode(model.chat_template().render(messages), false);
}

nlohmann::json describe(const Reply& reply, uint64_t seed) {
  return {
      {"text", reply.text},
      {"ids", reply.ids},
      {"finish_reason", name_of(reply.finish)},
      {"prompt_tokens", reply.prompt_tokens},
      {"generated_tokens", reply.ids.size()},
      {"drafted", reply.drafted_tokens},
      {"accepted", reply.accepted_tokens},
      {"prompt_seconds", reply.prompt_seconds},
      {"generate_seconds", reply.generate_seconds},
      {"tokens_per_second", reply.tokens_per_second()},
      {"seed", seed},
  };
}

void run(Flags& flags) {
  const Interrupt interrupt;
  if (flags.prompt == "-") flags.prompt.assign(std::istreambuf_iterator<char>(std::cin), {});
  const GenerationConfig config = flags.reply.finished_config();
  config.check();
  const Model model(flags.reply.model, flags.reply.options, show_on_terminal(interrupt.token()));
  const std::vector<int32_t> prompt = encode_prompt(flags, model);
  Generator generator(model, config);
  const auto print_piece = [&](std::string_view piece) {
    if (flags.json) return;
    fmt::print("{}", piece);
    std::fflush(stdout);
  };
  const Reply reply = generator.reply(prompt, print_piece, interrupt.token());
  if (flags.json) return print_json(describe(reply, config.seed));
  fmt::print("\n");
  std::fflush(stdout);
  fmt::print(stderr,
             "prompt {} tokens in {:.2f} s ({:.0f} tokens/s); reply {} tokens, {:.1f} tokens/s, ended by {}{}\n",
             reply.prompt_tokens, reply.prompt_seconds,
             static_cast<double>(reply.prompt_tokens) / std::max(reply.prompt_seconds, 1e-9), reply.ids.size(),
             reply.tokens_per_second(), name_of(reply.finish), describe_drafts(reply));
  if (reply.finish == FinishReason::kCancelled) throw Error(ErrorKind::kCancelled, "interrupted");
}

}  // namespace

void add_generate(CLI::App& program) {
  auto flags = std::make_shared<Flags>();
  flags->reply.config.max_tokens = 256;
  CLI::App* command = program.add_subcommand("generate", "Continue a text, or answer one prompt");
  add_option(*command, "--prompt", flags->prompt, "The text; - reads standard input")->required();
  add_flag(*command, "--chat-template", flags->chat_template,
           "Give the prompt as a user's turn in the model's template; --system implies it");
  flags->reply.add_to(*command);
  add_flag(*command, "--json", flags->json, "Print text, ids and timings as JSON");
  command->callback([flags] { run(*flags); });
}

}  // namespace salient::cli
