#pragma once

namespace salient::quantize {

enum class Method {
  kRoundToNearest,  ///< "rtn"
  kAwq,             ///< "awq": scales, and the grid of each group
  kAwqPlus,         ///< "awq+": then errors are compensated, and inputs corrected for
};

/// What is done to a layer besides rounding; docs/quantization.md says why, and how the numbers were chosen.
struct Steps {
  bool symmetric = false;     ///< zero points in the middle of the codes
  bool scale = false;         ///< search scales of the inputs (scale_search.h) ...
  bool scale_values = true;   ///< ... those of attention's output too, which are tied where query heads share values
  bool search_grids = false;  ///< grid_search.h
  bool compensate = false;    ///< compensation.h
  int sweeps = 0;             ///< coordinate_descent.h, after compensation
  float shrinkage = 0;        ///< regularize_gram, before all steps but the search for scales ...
  float damping = 0;
  float correction = 0;  ///< the share of correction.h; above 0, statistics are those behind quantized layers

  bool need_calibration() const { return scale || search_grids || compensate; }
};

/// The steps of a method, with or without the search for grids that clip.
Steps steps_of(Method method, bool clip);

}  // namespace salient::quantize
