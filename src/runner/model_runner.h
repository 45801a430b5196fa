#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>

#include "core/dtype.h"
#include "core/thread_pool.h"
#include "model/decoder.h"
#include "runner/cpu_linear.h"
#include "runner/head_rounding.h"
#include "runner/runner.h"

namespace salient::runner {

/// Keys that the last of `length` tokens sees, itself included, in all layers together.
int64_t keys_seen(const model::DecoderSpec& spec, int64_t length);

/// A runner that holds a whole model on its device, and what programs ask of that.
class ModelRunner : public Runner {
 public:
  virtual const model::Decoder& decoder() const = 0;
  /// As `--device` names it: "cpu", "gpu:0".
  virtual std::string device() const = 0;
  /// What computes there, for a person: "avx512vnni kernels, 2 threads".
  virtual std::string device_description() const = 0;
  /// The host's threads, for what is computed from logits.
  virtual core::ThreadPool& pool() = 0;

  /// Of quantized linears, while few tokens are computed at once.
  virtual Activations activations() const = 0;
  virtual core::DType kv_dtype() const = 0;
  /// How the output head is rounded at load; nothing where it is held as it is stored.
  virtual const std::optional<HeadGroups>& rounded_head() const = 0;

  /// Bytes of weights read for one token, head included.
  virtual int64_t bytes_per_token() const = 0;
  /// Bytes of keys and values that each token of a sequence takes.
  virtual int64_t kv_bytes_per_token() const = 0;
  /// Bytes of keys and values read for a token that sees `length` tokens, itself included, in all layers.
  int64_t cache_bytes_per_token(int64_t length) const;
  /// Tokens whose keys and values the device can hold, however much memory it has.
  virtual int64_t most_kv_tokens() const { return std::numeric_limits<int64_t>::max(); }
  /// Bytes of the device's memory that are free now.
  virtual uint64_t available_memory() const = 0;
  /// Whether the device is gone for good: every `forward` fails from now on.
  virtual bool is_lost() const { return false; }
};

}  // namespace salient::runner
