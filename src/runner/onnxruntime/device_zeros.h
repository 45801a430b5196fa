#pragma once

#include <cstdint>
#include <span>

#include "runner/onnxruntime/ort_library.h"

namespace salient::runner::ort {

/// Makes tensors on a provider's device zero. The library has no call for it, so a graph of one node does it.
class DeviceZeros {
 public:
  /// `options` are for the same provider as those of the session whose tensors they are; `type` is kF32 or kF16, `rank`
  /// their dimensions.
  DeviceZeros(const Library& library, const SessionOptions* options, ElementType type, int rank);

  /// `tensor` has this shape. Throws internal where the provider cannot.
  void fill(const Value* tensor, std::span<const int64_t> shape) const;

 private:
  const Library& library_;
  SessionHandle session_;
};

}  // namespace salient::runner::ort
