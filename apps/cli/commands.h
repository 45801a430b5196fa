#pragma once

#include <CLI/CLI.hpp>

namespace salient::cli {

// Each adds one command to the program: its flags, its help and what it does. A command runs in its callback and
// reports failure by throwing Error.
void add_pull(CLI::App& program);
void add_models(CLI::App& program);
void add_devices(CLI::App& program);
void add_inspect(CLI::App& program);
void add_quantize(CLI::App& program);
void add_export(CLI::App& program);
void add_perplexity(CLI::App& program);
void add_bench(CLI::App& program);
void add_serve(CLI::App& program);
void add_generate(CLI::App& program);
void add_chat(CLI::App& program);
void add_completion(CLI::App& program);

}  // namespace salient::cli
