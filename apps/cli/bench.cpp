#include <fmt/format.h>
#include <fmt/ranges.h>

#include <memory>

#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/model.h"

namespace salient::cli {

namespace {

struct Flags {
  ModelName model;
  SpeedOptions options;
  std::filesystem::path write;
  bool count = false;
  bool json = false;
};

void run(const Flags& flags) {
  if (flags.model.empty() == flags.options.synthetic.empty()) {
    throw CLI::ValidationError("bench", "expected a MODEL or --synthetic, one of them");
  }
  if (!flags.write.empty() && flags.options.synthetic.empty()) {
    throw CLI::ValidationError("--write", "writes a --synthetic model, and there is none");
  }
  const Interrupt interrupt;
  const Monitor monitor = show(interrupt.token());
  if (flags.count) {
    print(count_traffic(flags.model, flags.options, monitor), flags.json);
  } else if (flags.write.empty()) {
    print(measure_speed(flags.model, flags.options, monitor), flags.json);
  } else {
    print(write_synthetic_model(flags.options.synthetic, flags.write, monitor), flags.json);
  }
}

}  // namespace

void add_bench(CLI::App& program) {
  auto flags = std::make_shared<Flags>();
  SpeedOptions& options = flags->options;
  CLI::App* command = program.add_subcommand(
      "bench", "Measure how fast a model runs here, and how much of this machine's memory bandwidth it uses");
  command->add_option("MODEL", flags->model, kModelHelp);
  add_option(*command, "--synthetic", options.synthetic,
             "Instead of a MODEL, random int4 weights in memory in the shape of: " +
                 fmt::format("{}", fmt::join(synthetic_models(), ", ")))
      ->check(CLI::IsMember(synthetic_models()));
  add_option(*command, "--prompt-tokens", options.prompt_tokens, "Of the prefill test; 0: none")->check(at_least(0));
  add_option(*command, "--generate-tokens", options.generate_tokens, "Of each decoding test; 0: none")
      ->check(at_least(0));
  command
      ->add_option("--depth", options.depth,
                   "Tokens before those of a second decoding test; 0: none [4096, or what the context holds]")
      ->envname(environment_name("--depth"))
      ->check(at_least(0));
  add_option(*command, "--repetitions", options.repetitions, "Of each test")->check(at_least(1));
  add_device_option(*command, options.model.device);
  add_precision_options(*command, options.model);
  add_threads_option(*command, options.model.threads);
  add_option(*command, "--write", flags->write,
             "Measure nothing, but write the synthetic model as an AutoAWQ folder, for other programs to run");
  add_flag(*command, "--count", flags->count,
           "Run nothing, but count what a token moves through the memory of a GPU, software or not, and estimate what "
           "known devices could do")
      ->excludes("--write");
  add_flag(*command, "--json", flags->json, "Print JSON: an object for each test");
  command->callback([flags] { run(*flags); });
}

}  // namespace salient::cli
