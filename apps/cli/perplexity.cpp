#include <memory>

#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/model.h"

namespace salient::cli {

void add_perplexity(CLI::App& program) {
  struct Flags {
    ModelName model;
    PerplexityOptions options;
    bool json = false;
  };
  auto flags = std::make_shared<Flags>();
  PerplexityOptions& options = flags->options;
  CLI::App* command =
      program.add_subcommand("perplexity", "Measure how well a model predicts text, alone or against its base");
  command->add_option("MODEL", flags->model, kModelHelp)->required();
  add_threads_option(*command, options.model.threads);
  add_device_option(*command, options.model.device);
  add_precision_options(*command, options.model);
  add_option(*command, "--data", options.data,
             "wikitext2, ptb, a text file, or self: text the base writes by itself; repeatable")
      ->allow_extra_args(false);
  add_option(*command, "--data-dir", options.data_dir,
             "Folder with wiki.test.raw and ptb.test.txt; else they are downloaded once");
  add_option(*command, "--base", options.base,
             "The model before quantization: adds difference, KL divergence, agreement. It runs on the CPU without "
             "--head and --kv-cache, so that the model as its own base shows what these cost");
  add_option(*command, "--recipe", options.recipe, "paper, sliding, llama.cpp or short");
  add_option(*command, "--window", options.window, "Tokens a window, instead of the recipe's")->check(at_least(0));
  add_option(*command, "--stride", options.stride, "Tokens between windows, instead of the recipe's")
      ->check(at_least(0));
  add_option(*command, "--limit", options.limit, "Windows at most; 0: all")->check(at_least(0));
  add_flag(
      *command, "--exact", options.exact,
      "Keep activations, and keys and values but for --kv-cache int8 and on a GPU, in fp32 instead of int8 and fp16");
  add_flag(*command, "--json", flags->json, "Print JSON with the loss of every window");
  command->callback([flags] {
    const Interrupt interrupt;
    print(measure_perplexity(flags->model, flags->options, show(interrupt.token())), flags->json);
  });
}

}  // namespace salient::cli
