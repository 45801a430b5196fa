#include "convert/spec_comparison.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/error.h"

namespace salient::convert {

namespace {

using model::DecoderSpec;
using model::Rope;

bool close(float a, float b) {
  return std::abs(a - b) <= 2e-6f * std::max(std::abs(a), std::abs(b));
}

bool close(const std::vector<float>& a, const std::vector<float>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](float x, float y) { return close(x, y); });
}

bool same_rope(const Rope& a, const Rope& b) {
  return a.rotary_dim == b.rotary_dim && a.original_positions == b.original_positions &&
         close(a.magnitude, b.magnitude) && close(a.frequencies, b.frequencies) &&
         close(a.long_frequencies, b.long_frequencies);
}

/// The rotary embedding and the window of every layer.
bool same_attention(const DecoderSpec& a, const DecoderSpec& b) {
  for (size_t i = 0; i < a.attention.size(); ++i) {
    const int first = a.attention[i].rope;
    const int second = b.attention[i].rope;
    if (a.attention[i].window != b.attention[i].window || (first < 0) != (second < 0)) return false;
    if (first >= 0 && !same_rope(a.ropes[first], b.ropes[second])) return false;
  }
  return true;
}

/// What differs; empty where nothing does.
std::string find_difference(const DecoderSpec& a, const DecoderSpec& b) {
  if (a.layers != b.layers || a.hidden_size != b.hidden_size || a.intermediate_size != b.intermediate_size ||
      a.vocab_size != b.vocab_size || a.heads != b.heads || a.kv_heads != b.kv_heads || a.head_dim != b.head_dim) {
    return "sizes";
  }
  if (a.max_positions != b.max_positions) return "context length";
  if (!same_attention(a, b)) return "rotary embeddings or windows";
  if (a.norm != b.norm || !close(a.norm_epsilon, b.norm_epsilon) || a.post_norms != b.post_norms ||
      a.qk_norm != b.qk_norm) {
    return "norms";
  }
  if (!close(a.attention_scale, b.attention_scale)) return "scale of attention";
  if (!close(a.attention_soft_cap, b.attention_soft_cap) || !close(a.logit_soft_cap, b.logit_soft_cap)) {
    return "soft caps";
  }
  if (!close(a.embedding_scale, b.embedding_scale)) return "scale of embeddings";
  if (a.activation != b.activation || a.gated_mlp != b.gated_mlp || a.parallel_mlp != b.parallel_mlp) return "MLP";
  return {};
}

}  // namespace

void check_same_decoder(const DecoderSpec& model, const DecoderSpec& written, const std::string& origin,
                        const std::string& format) {
  const std::string difference = find_difference(model, written);
  if (difference.empty()) return;
  core::fail(core::ErrorKind::kUnsupported, "{}: {} files of {} models cannot say what its {} are", origin, format,
             model.family, difference);
}

}  // namespace salient::convert
