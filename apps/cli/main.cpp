#include <fmt/ranges.h>

#include <cstdio>
#include <new>
#include <salient/salient.hpp>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "core/os.h"
#ifdef __GLIBC__
#include <malloc.h>
#endif

namespace {

/// Loading a model takes and frees small buffers thousands of times. By default the C library gives such memory back to
/// the system each time and asks for it again, page by page: a fifth of the time to load.
void keep_freed_memory() {
#ifdef __GLIBC__
  constexpr int kBytes = 32 << 20;
  mallopt(M_MMAP_THRESHOLD, kBytes);
  mallopt(M_TRIM_THRESHOLD, kBytes);
  mallopt(M_TOP_PAD, kBytes / 8);
#endif
}

constexpr int kFailure = 1;
constexpr int kUsage = 2;

/// Not with fmt, which throws when standard error is gone.
int report(const char* sentence) noexcept {
  std::fprintf(stderr, "salient: %s\n", sentence);
  return kFailure;
}

int run(const std::vector<std::string>& words) {
  CLI::App program("Salient makes a language model four times smaller and runs it on the machine you have.", "salient");
  program.set_version_flag("--version", [] {
    return fmt::format("salient {} ({}), kernels {}; here {}", salient::version(), salient::build_commit(),
                       fmt::join(salient::kernel_names(), ", "), salient::active_kernel_name());
  });
  program.allow_windows_style_options(false);  // "/models/small" is a path there too
  program.require_subcommand(0, 1);            // with one required, an unknown name would be called a missing one
  program.get_formatter()->column_width(34);
  program.footer(
      fmt::format("MODEL is a Hugging Face folder (safetensors: dense, AutoAWQ, GPTQ or compressed-tensors), an ONNX\n"
                  "folder of the generate() API, a GGUF file, or the name of a model on the hub (see pull --help),\n"
                  "which is downloaded first when it is not in the cache.\n"
                  "Every flag can be given as an environment variable too: --max-tokens is SALIENT_MAX_TOKENS.\n"
                  "SALIENT_ISA={} forces an instruction set.",
                  fmt::join(salient::kernel_names(), "|")));
  salient::cli::add_pull(program);
  salient::cli::add_models(program);
  salient::cli::add_devices(program);
  salient::cli::add_inspect(program);
  salient::cli::add_quantize(program);
  salient::cli::add_export(program);
  salient::cli::add_perplexity(program);
  salient::cli::add_bench(program);
  salient::cli::add_generate(program);
  salient::cli::add_chat(program);
  salient::cli::add_serve(program);
  salient::cli::add_completion(program);
  std::vector<const char*> pointers;
  for (const std::string& word : words) pointers.push_back(word.c_str());
  try {
    program.parse(static_cast<int>(pointers.size()), pointers.data());
  } catch (const CLI::ParseError& error) {
    return program.exit(error) == 0 ? 0 : kUsage;
  }
  if (!program.get_subcommands().empty()) return 0;
  std::fputs(program.help().c_str(), stderr);
  return kUsage;
}

}  // namespace

int main(int argc, char** argv) {
  keep_freed_memory();
  try {
    salient::core::os::use_utf8_terminal();
    const int code = run(salient::core::os::arguments(argc, argv));
    if (std::fflush(stdout) == 0 && !std::ferror(stdout)) return code;
    return report("standard output cannot be written");
  } catch (const salient::Error& error) {
    return report(error.what());
  } catch (const std::bad_alloc&) {
    return report("there is not enough memory");
  } catch (const std::exception& error) {
    return report(error.what());
  }
}
