#include <fmt/ranges.h>

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
  return std::array{Candidate{&kAvx512VnniKernels, cpu.avx512_vnni}, Candidate{&kAvxVnniKernels, cpu.avx_vnni},
                    Candidate{&kAvx2Kernels, cpu.avx2_fma_f16c}, Candidate{&kScalarKernels, true}};
#elif defined(__aarch64__)
  const core::CpuFeatures& cpu = core::cpu_features();
  return std::array{Candidate{&kNeonI8mmKernels, cpu.neon_i8mm}, Candidate{&kNeonDotprodKernels, cpu.neon_dotprod},
                    Candidate{&kScalarKernels, true}};
#else
  return std::array{Candidate{&kScalarKernels, true}};
#endif
}

const KernelSet& choose() {
  const std::string wanted = core::os::environment("SALIENT_ISA");
  for (const Candidate& candidate : candidates()) {
    if (wanted.empty() ? candidate.runs_here : wanted == candidate.set->name) {
      if (candidate.runs_here) return *candidate.set;
      core::fail(core::ErrorKind::kUnsupported, "SALIENT_ISA={}: this CPU does not have these instructions", wanted);
    }
  }
  core::fail(core::ErrorKind::kUnsupported, "SALIENT_ISA={}: unknown instruction set; this build has {}", wanted,
             fmt::join(kernel_names(), ", "));
}

}  // namespace

const KernelSet& active_kernels() {
  static const KernelSet& chosen = choose();
  return chosen;
}

std::vector<const char*> kernel_names() {
  std::vector<const char*> names;
  for (const Candidate& candidate : candidates()) names.push_back(candidate.set->name);
  return names;
}

const KernelSet* find_kernels(const char* name) {
  for (const Candidate& candidate : candidates()) {
    if (std::string_view(name) == candidate.set->name) return candidate.runs_here ? candidate.set : nullptr;
  }
  return nullptr;
}

}  // namespace salient::kernels
