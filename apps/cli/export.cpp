#include <memory>

#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/model.h"

namespace salient::cli {

void add_export(CLI::App& program) {
  struct Flags {
    ModelName model;
    ExportOptions options;
    bool json = false;
  };
  auto flags = std::make_shared<Flags>();
  ExportOptions& options = flags->options;
  CLI::App* command = program.add_subcommand(
      "export",
      "Write a model in another format. Every quantized weight stays as it is where the format can hold it; else the "
      "linears that change are named, with how far they moved and the KL divergence from the source");
  command->add_option("MODEL", flags->model, kModelHelp)->required();
  add_option(*command, "--format", options.format,
             "awq (AutoAWQ) or compressed-tensors, whose linears must be quantized already, gguf, or onnx (a folder of "
             "ONNX Runtime's generate() API)")
      ->check(CLI::IsMember({"awq", "compressed-tensors", "gguf", "onnx"}));
  add_option(*command, "--layout", options.layout, "Of an onnx graph: cpu (fp32) or dml (fp16, DirectML)")
      ->check(CLI::IsMember({"cpu", "dml"}));
  command
      ->add_option("--accuracy-level", options.accuracy_level,
                   "Of an onnx graph's int4 products: 4 allows int8 activations, 1 forbids them, 0 leaves it open "
                   "(ONNX Runtime then has fp32) [4 with cpu, 0 with dml]")
      ->envname(environment_name("--accuracy-level"))
      ->check(CLI::Range(0, 4));
  add_option(*command, "--output", options.output, "Folder, or for gguf file, to write; must not exist")->required();
  add_flag(*command, "--exact", options.exact, "Refuse where a quantized weight would change");
  add_option(*command, "--limit", options.limit,
             "Windows of 512 tokens, written by the source, that the KL divergence is measured on; 0: none")
      ->check(at_least(0));
  add_threads_option(*command, options.threads, "Threads for measuring; 0: all CPUs this process may use");
  add_flag(*command, "--json", flags->json, "Print JSON");
  command->callback([flags] {
    const Interrupt interrupt;
    print(export_model(flags->model, flags->options, show(interrupt.token())), flags->json);
  });
}

}  // namespace salient::cli
