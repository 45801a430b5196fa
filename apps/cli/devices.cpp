#include <memory>

#include "cli/commands.h"
#include "cli/model.h"

namespace salient::cli {

void add_devices(CLI::App& program) {
  struct Flags {
    DeviceOptions options;
    bool json = false;
  };
  auto flags = std::make_shared<Flags>();
  CLI::App* command = program.add_subcommand("devices", "List what models can run on here");
  add_flag(*command, "--measure", flags->options.measure,
           "Measure how fast memory is read and, on GPUs, copied, and say what that allows for some models");
  add_threads_option(*command, flags->options.threads);
  add_flag(*command, "--json", flags->json, "Print JSON: an object for each device");
  command->callback([flags] { print(list_devices(flags->options), flags->json); });
}

}  // namespace salient::cli
