#include <memory>
#include <set>

#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/model.h"

namespace salient::cli {

void add_quantize(CLI::App& program) {
  struct Flags {
    ModelName model;
    QuantizeOptions options;
    std::string clip = "on";
    bool json = false;
  };
  auto flags = std::make_shared<Flags>();
  QuantizeOptions& options = flags->options;
  CLI::App* command =
      program.add_subcommand("quantize", "Make a model four times smaller: int4, as a folder others open too");
  command->add_option("MODEL", flags->model, kModelHelp)->required();
  add_threads_option(*command, options.threads);
  add_option(*command, "--output", options.output, "Folder to write; must not exist")->required();
  add_format_option(*command, options.format);
  add_option(*command, "--method", options.method,
             "awq+; awq: without compensation of errors, worse and in half the time; or rtn: plain rounding")
      ->check(CLI::IsMember({"awq", "awq+", "rtn"}));
  add_option(*command, "--clip", flags->clip, "Search clipping too: on or off")->check(CLI::IsMember({"on", "off"}));
  add_option(*command, "--group-size", options.group_size,
             "Weights that share a scale: 128, 64 or 32; 0: the largest that fits")
      ->check(CLI::IsMember(std::set<int>{0, 32, 64, 128}));
  add_flag(*command, "--symmetric", options.symmetric,
           "Without zero points: a little worse and smaller, faster in some other programs; for --format "
           "compressed-tensors");
  add_option(
      *command, "--target-size", options.target_bytes,
      "Bytes (or 2500MB) of tensors: as many layers as have room get int8, those first that lose most in int4; for "
      "--format compressed-tensors")
      ->transform(CLI::AsSizeValue(/*kb_is_1000=*/true));
  add_option(
      *command, "--target-kl", options.target_divergence,
      "KL divergence from the unquantized model, on held-out calibration text, in nats a token: as few layers as "
      "it takes get int8")
      ->check(CLI::PositiveNumber);
  add_option(*command, "--calibration", options.calibration,
             "Text file, .jsonl file (a text or a conversation a line), folder of documents (.txt, .md, .jsonl), or a "
             "set: wikitext2-train, pile-10k, pileval; without it the model writes its own");
  add_option(*command, "--data-dir", options.data_dir,
             "Folder with the set's file (wiki.train.raw, pile-10k.txt, pileval.jsonl); else it is downloaded once");
  add_option(*command, "--calibration-sequences", options.calibration_sequences,
             "Sequences at most; documents: as many tokens as these have")
      ->check(at_least(1));
  add_option(*command, "--calibration-tokens", options.calibration_tokens, "Tokens of a sequence at most")
      ->check(at_least(1));
  add_option(*command, "--seed", options.seed, "Of the text the model writes itself, or of the choice of documents")
      ->check(at_least(0));
  add_flag(*command, "--resume", options.resume, "Go on with an interrupted run of the same settings");
  add_flag(*command, "--dry-run", options.dry_run, "Say what size, memory and time it would take, and do no more");
  add_flag(*command, "--json", flags->json, "Print the report of every layer as JSON");
  command->callback([flags] {
    const Interrupt interrupt;
    flags->options.clip = flags->clip == "on";
    print(quantize_model(flags->model, flags->options, show(interrupt.token())), flags->json);
  });
}

}  // namespace salient::cli
