#include <array>
#include <string>
#include <string_view>

#include "core/cpu_features.h"
#include "core/error.h"
#include "core/os.h"
#include "kernels/kernels.h"

namespace salient::kernels {

namespace {

struct Candidate {
  const KernelSet* set;
  bool runs_here;
};

/// Best first.
auto candidates() {
#if defined(__x86_64__)
  const core::CpuFeatures& cpu = core::cpu_features();
  return std::array{Candidate{&kAvx512VnniKernels, cpu.avx512_vnni}, Candidate{&kAvx2Kernels, cpu.avx2_fma_f16c},
                    Candidate{&kScalarKernels, true}};
#else
  return std::array{Candidate{&kScalarKernels, true}};
#endif
}

const KernelSet& choose() {
  const std::string wanted = core::os::environment("SALIENT_ISA");
  std::string known;
  for (const Candidate& candidate : candidates()) {
    if (wanted.empty() ? candidate.runs_here : wanted == candidate.set->name) {
      if (candidate.runs_here) return *candidate.set;
      core::fail(core::ErrorKind::kUnsupported, "SALIENT_ISA={}: this CPU does not have these instructions", wanted);
    }
    known += known.empty() ? candidate.set->name : std::string(", ") + candidate.set->name;
  }
  core::fail(core::ErrorKind::kUnsupported, "SALIENT_ISA={}: unknown instruction set; this build has {}", wanted,
             known);
}

}  // namespace

const KernelSet& active_kernels() {
  static const KernelSet& chosen = choose();
  return chosen;
}

const KernelSet* find_kernels(const char* name) {
  for (const Candidate& candidate : candidates()) {
    if (std::string_view(name) == candidate.set->name) return candidate.runs_here ? candidate.set : nullptr;
  }
  return nullptr;
}

}  // namespace salient::kernels
