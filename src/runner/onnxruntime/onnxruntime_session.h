#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "core/dtype.h"
#include "model/decoder.h"
#include "runner/onnxruntime/device_zeros.h"
#include "runner/onnxruntime/genai_decoder.h"
#include "runner/onnxruntime/onnxruntime_provider.h"
#include "runner/onnxruntime/ort_library.h"

namespace salient::runner::ort {

/// The graph of a generate() folder, opened with a provider.
class DecoderSession {
 public:
  /// `threads` are those of the library's own pool. Throws unsupported for a graph that has other inputs than a decoder
  /// has, or that the provider cannot run as a whole.
  DecoderSession(const model::Decoder& decoder, const OnnxRuntimeProvider& provider, int threads);

  const OnnxRuntimeProvider& provider() const { return provider_; }
  const GenaiDecoder& names() const { return names_; }
  int64_t layers() const { return layers_; }
  int64_t kv_heads() const { return kv_heads_; }
  /// Of keys and values: kF32 or kF16.
  core::DType kv_dtype() const { return kv_dtype_; }
  /// Bytes of a key or a value of one head.
  int64_t kv_row_bytes() const { return kv_row_bytes_; }
  /// Whether keys and values are in the host's memory.
  bool kv_on_host() const { return kv_on_host_; }
  /// Operators that the CPU computes for a provider that is another: what makes masks and positions, as a rule.
  const std::set<std::string>& operators_on_cpu() const { return operators_on_cpu_; }
  int64_t vocab_size() const { return vocab_size_; }
  /// The graph computes the logits of the last token only.
  bool last_logits_only() const { return last_logits_only_; }

  /// Keys or values of one layer for `length` tokens, [1, kv_heads, length, head_dim], all zero.
  ValueHandle make_kv(int64_t length) const;
  /// Its numbers, on the host.
  std::byte* kv_data(const ValueHandle& kv) const;

  /// What a run gives: logits, fp32 rows of vocab_size, and keys and values, where the run was not given room for them.
  struct Result {
    std::vector<float> logits;
    std::vector<ValueHandle> present;
  };
  /// Computes tokens that follow `position` others, whose keys and values `past` has: those of layer 0, then of layer 1
  /// and so on, the keys first. With `in_place` the new ones go into the same tensors.
  Result run(std::span<const int64_t> tokens, int64_t position, std::span<const ValueHandle> past, bool in_place) const;

 private:
  void check_attention(const model::Decoder& decoder) const;
  SessionOptionsHandle options_with_provider(int threads) const;
  /// Returns the options that the session has.
  SessionOptionsHandle open(const model::Decoder& decoder, int threads);
  void check_inputs(const model::Decoder& decoder);
  void check_outputs(const model::Decoder& decoder);
  void check_assignment(const std::string& graph);
  ElementType read_type(const TypeInfo* type, std::vector<int64_t>& shape) const;
  ValueHandle tensor_of(std::span<const int64_t> numbers, ElementType type) const;
  std::vector<float> read_logits(Value* logits) const;
  ElementType kv_element() const;
  std::string kv_name(const std::string& keys, const std::string& values, size_t index) const;

  const OnnxRuntimeProvider& provider_;
  GenaiDecoder names_;
  int64_t layers_;
  int64_t kv_heads_;
  int64_t head_dim_;
  int64_t vocab_size_;
  core::DType kv_dtype_ = core::DType::kF32;
  int64_t kv_row_bytes_ = 0;
  bool kv_on_host_ = true;
  std::map<std::string, ElementType> integers_;  ///< inputs that are ids, a mask or positions, and their types
  bool last_logits_only_ = false;
  std::set<std::string> operators_on_cpu_;
  const Library& library_;
  SessionHandle session_;
  MemoryInfoHandle host_memory_;
  const MemoryInfo* kv_memory_ = nullptr;  ///< the session's
  AllocatorHandle kv_allocator_;
  std::optional<DeviceZeros> zeros_;  ///< where keys and values are on a device, in buffers that runs share
};

}  // namespace salient::runner::ort
