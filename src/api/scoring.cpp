#include "api/scoring.h"

#include <utility>

#include "api/locate.h"
#include "api/monitor.h"
#include "api/run_options.h"
#include "core/os.h"
#include "core/progress.h"
#include "generate/self_text.h"
#include "runner/weight_bytes.h"

namespace salient::api {

std::unique_ptr<runner::ModelRunner> make_scoring_runner(const ModelName& name, device::RunnerOptions options,
                                                         core::ThreadPool& pool, const Monitor& monitor) {
  const auto decoder = open_decoder(name, monitor);
  const uint64_t needed = runner::weight_bytes(*decoder, options.head);
  const uint64_t available = core::os::available_memory();
  const bool fits = needed < available / 10 * 8;
  if (!fits && options.device.kind == device::DeviceName::Kind::kCpu) {
    say(monitor, "{}: needs {}, {} are free: it is evaluated layer by layer", name.string(), core::format_bytes(needed),
        core::format_bytes(available));
  }
  options.residency = fits ? runner::Residency::kResident : runner::Residency::kStreamed;
  device::OpenedRunner opened = device::open_runner(decoder, pool, options);
  if (!opened.reason.empty()) say(monitor, "{}", opened.reason);
  if (fits || opened.runner->device() != "cpu") {
    say(monitor, "{}", describe_run(*opened.runner));
  } else {
    say(monitor, "{}: {}; {}", name.string(), describe_arithmetic(*opened.runner), runner::describe_kernels());
  }
  return std::move(opened.runner);
}

std::vector<int32_t> write_scoring_text(runner::ModelRunner& writer, int64_t windows, int64_t tokens,
                                        const Monitor& monitor) {
  constexpr uint64_t kSeed = 1000;  // far from those of calibration: no sequence is scored that a model was fitted to
  const auto texts = generate::write_self_text(writer,
                                               {.sequences = windows,
                                                .tokens = tokens,
                                                .seed = kSeed,
                                                .first_token = begin_of_sequence(writer.decoder()).value_or(0)},
                                               monitor.on_progress, monitor.stop);
  std::vector<int32_t> all;
  for (const auto& text : texts) all.insert(all.end(), text.begin(), text.end());
  return all;
}

}  // namespace salient::api
