#pragma once

namespace salient::core {

/// What this CPU and its operating system can run.
struct CpuFeatures {
  bool avx2_fma_f16c = false;
  bool avx_vnni = false;     ///< together with the above
  bool avx512_vnni = false;  ///< F, BW, VL, DQ and VNNI together
  bool neon_dotprod = false;
  bool neon_i8mm = false;  ///< together with the above
};

const CpuFeatures& cpu_features();

}  // namespace salient::core
