#include <fmt/format.h>

#include <cstdio>
#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/model.h"
#include "core/error.h"
#include "generate/generator.h"
#include "text/chat_template.h"

namespace salient::cli {

namespace {

struct Flags {
  RunFlags run;
  PrecisionFlags precision;
  SamplingFlags sampling;
  std::string prompt;
  std::string system;
  bool chat_template = false;
  int64_t max_tokens = 256;
  int64_t context = 0;
  std::string speculate = "on";
  bool json = false;
};

/// The prompt as given, or as one turn of a chat.
std::vector<int32_t> encode_prompt(const Flags& flags, const checkpoint::Checkpoint& checkpoint,
                                   const text::Tokenizer& tokenizer) {
  if (!flags.chat_template && flags.system.empty()) return tokenizer.encode(flags.prompt, true);
  std::vector<text::Message> messages;
  if (!flags.system.empty()) messages.push_back({"system", flags.system});
  messages.push_back({"user", flags.prompt});
  const text::ChatTemplate chat(checkpoint.tokenizer_config, checkpoint.path.string());
  return tokenizer.encode(chat.render(messages, true), false);
}

nlohmann::json describe(const generate::Reply& reply, uint64_t seed) {
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
  generate::check(flags.sampling.options);
  core::ThreadPool pool(flags.run.threads);
  const auto decoder = open_decoder(flags.run.model, interrupt.token());
  const text::Tokenizer tokenizer = open_tokenizer(decoder->checkpoint());
  const std::vector<int32_t> prompt = encode_prompt(flags, decoder->checkpoint(), tokenizer);
  runner::CpuRunnerOptions options{.progress = show_progress_on_terminal()};
  flags.precision.apply_to(options);
  runner::CpuRunner runner(decoder, pool, options);
  say_what_runs(runner, pool.size());
  generate::Generator generator(runner, tokenizer,
                                {.sampling = flags.sampling.options,
                                 .max_tokens = flags.max_tokens,
                                 .context = flags.context,
                                 .speculation = speculation(flags.speculate)});
  const auto print_piece = [&](std::string_view piece) {
    if (flags.json) return;
    fmt::print("{}", piece);
    std::fflush(stdout);
  };
  const generate::Reply reply = generator.reply(prompt, print_piece, interrupt.token());
  if (flags.json) return print_json(describe(reply, flags.sampling.options.seed));
  fmt::print("\n");
  std::fflush(stdout);
  fmt::print(stderr,
             "prompt {} tokens in {:.2f} s ({:.0f} tokens/s); reply {} tokens, {:.1f} tokens/s, ended by {}{}\n",
             reply.prompt_tokens, reply.prompt_seconds,
             static_cast<double>(reply.prompt_tokens) / std::max(reply.prompt_seconds, 1e-9), reply.ids.size(),
             reply.tokens_per_second(), name_of(reply.finish), describe_drafts(reply));
  if (reply.finish == generate::FinishReason::kCancelled) core::fail(core::ErrorKind::kCancelled, "interrupted");
}

}  // namespace

void add_generate(CLI::App& program) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command = program.add_subcommand("generate", "Continue a text, or answer one prompt");
  flags->run.add_to(*command);
  flags->precision.add_to(*command);
  add_option(*command, "--prompt", flags->prompt, "The text; - reads standard input")->required();
  add_flag(*command, "--chat-template", flags->chat_template,
           "Give the prompt as a user's turn in the model's template");
  add_option(*command, "--system", flags->system, "A system message before it (implies --chat-template)");
  add_option(*command, "--max-tokens", flags->max_tokens, "Longest reply; 0: until the model ends it")
      ->check(at_least(0));
  add_option(*command, "--context", flags->context, "Prompt and reply together; 0: what the model was trained for")
      ->check(at_least(0));
  flags->sampling.add_to(*command);
  add_speculate_option(*command, flags->speculate);
  add_flag(*command, "--json", flags->json, "Print text, ids and timings as JSON");
  command->callback([flags] { run(*flags); });
}

}  // namespace salient::cli
