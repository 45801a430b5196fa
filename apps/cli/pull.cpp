#include <fmt/format.h>
#include <fmt/ranges.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "cli/cached_model.h"
#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/model.h"

namespace salient::cli {

nlohmann::json describe(const CachedModel& model) {
  return {{"name", model.name},     {"repository", model.repository}, {"revision", model.revision},
          {"commit", model.commit}, {"folder", model.folder},         {"path", model.path.string()},
          {"format", model.format}, {"license", model.license},       {"bytes", model.bytes}};
}

void add_pull(CLI::App& program) {
  struct Flags {
    std::string name;
    PullOptions options;
    bool json = false;
  };
  auto flags = std::make_shared<Flags>();
  CLI::App* command = program.add_subcommand("pull", "Download a model into the cache that Hugging Face tools share");
  command->add_option("NAME", flags->name, "OWNER/NAME[@revision][/SUB/FOLDER], OWNER/NAME/FILE.gguf, or a short name")
      ->required();
  add_option(*command, "--device", flags->options.device, "Of a short name's quantized variant: cpu or dml")
      ->envname("SALIENT_PULL_DEVICE")  // --device of other commands is what runs a model
      ->check(CLI::IsMember({"cpu", "dml"}));
  add_flag(*command, "--base", flags->options.base, "Of a short name: the model before quantization");
  add_flag(*command, "--json", flags->json, "Print JSON instead of the path");
  command->footer("Short names: " + fmt::format("{}", fmt::join(known_models(), ", ")) +
                  ".\n"
                  "An interrupted pull goes on where it was. These variables are obeyed:\n"
                  "HF_TOKEN                the access token, for gated and private models\n"
                  "HF_HUB_CACHE, HF_HOME   where models are kept\n"
                  "HF_ENDPOINT             another hub\n"
                  "HF_HUB_OFFLINE=1        use only what is in the cache\n"
                  "SALIENT_STALL_TIMEOUT   seconds after which a silent server is asked again (30)");
  command->callback([flags] {
    const Interrupt interrupt;
    const CachedModel model = pull_model(flags->name, flags->options, show(interrupt.token()));
    if (flags->json) return print_json(describe(model));
    fmt::print("{}\n", model.path.string());
  });
}

}  // namespace salient::cli
