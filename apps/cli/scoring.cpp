#include "cli/scoring.h"

#include <fmt/format.h>

#include <cstdio>
#include <utility>

#include "cli/model.h"
#include "core/os.h"
#include "generate/self_text.h"

namespace salient::cli {

std::unique_ptr<runner::CpuRunner> make_scoring_runner(const std::filesystem::path& path,
                                                       runner::CpuRunnerOptions options, core::ThreadPool& pool,
                                                       const std::stop_token& stop) {
  const auto decoder = open_decoder(path, stop);
  const uint64_t needed = resident_bytes(*decoder, options.head);
  const uint64_t available = core::os::available_memory();
  const bool fits = needed < available / 10 * 8;
  if (!fits) {
    fmt::print(stderr, "{}: needs {}, {} are free: it is evaluated layer by layer\n", path.string(),
               core::format_bytes(needed), core::format_bytes(available));
  }
  options.residency = fits ? runner::Residency::kResident : runner::Residency::kStreamed;
  auto runner = std::make_unique<runner::CpuRunner>(decoder, pool, std::move(options));
  if (fits) {
    say_what_runs(*runner, pool.size());
  } else {
    note_slow_kernels();
    fmt::print(stderr, "{}: {}\n", path.string(), describe_arithmetic(*runner));
  }
  return runner;
}

std::vector<int32_t> write_scoring_text(runner::CpuRunner& writer, int64_t windows, int64_t tokens,
                                        const std::stop_token& stop) {
  constexpr uint64_t kSeed = 1000;  // far from those of calibration: no sequence is scored that a model was fitted to
  const auto texts = generate::write_self_text(writer,
                                               {.sequences = windows,
                                                .tokens = tokens,
                                                .seed = kSeed,
                                                .first_token = begin_of_sequence(writer.decoder()).value_or(0)},
                                               show_progress(), stop);
  std::vector<int32_t> all;
  for (const auto& text : texts) all.insert(all.end(), text.begin(), text.end());
  return all;
}

}  // namespace salient::cli
