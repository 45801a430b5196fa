#include "quantize/steps.h"

namespace salient::quantize {

Steps steps_of(Method method, bool clip) {
  Steps steps;
  if (method == Method::kRoundToNearest) return steps;
  steps.scale = true;
  steps.search_grids = clip;
  if (method == Method::kAwq) return steps;
  steps.compensate = true;
  steps.shrinkage = 0.4f;
  steps.damping = 0.1f;
  steps.sweeps = 4;
  steps.correction = 0.25f;
  return steps;
}

}  // namespace salient::quantize
