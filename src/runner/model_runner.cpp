#include "runner/model_runner.h"

#include <algorithm>

namespace salient::runner {

int64_t keys_seen(const model::DecoderSpec& spec, int64_t length) {
  int64_t keys = 0;
  for (const model::LayerAttention& layer : spec.attention) {
    keys += layer.window > 0 ? std::min(length, layer.window) : length;
  }
  return keys;
}

int64_t ModelRunner::cache_bytes_per_token(int64_t length) const {
  return keys_seen(spec(), length) * kv_bytes_per_token() / spec().layers;
}

}  // namespace salient::runner
