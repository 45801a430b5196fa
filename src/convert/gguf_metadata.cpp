#include "convert/gguf_metadata.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "checkpoint/gguf_architecture.h"
#include "core/error.h"
#include "model/rope.h"

namespace salient::convert {

using checkpoint::GgufOutputTensor;
using core::ErrorKind;
using core::fail;
using nlohmann::json;

namespace {

/// Collects the metadata of one model.
class Description {
 public:
  explicit Description(const model::Decoder& decoder)
      : decoder_(decoder), spec_(decoder.spec()), config_(decoder.checkpoint().config) {
    architecture_ = checkpoint::architecture_of(spec_.family, origin()).first;
  }

  GgufDescription make() {
    result_.metadata = {{"general.architecture", architecture_},
                        {"general.type", std::string("model")},
                        {"general.name", decoder_.checkpoint().path.stem().string()},
                        {"general.quantization_version", uint32_t{2}}};
    add_sizes();
    add_windows();
    add_rope();
    return std::move(result_);
  }

 private:
  std::string origin() const { return decoder_.checkpoint().path.string(); }

  template <typename T>
  void set(const char* field, T value) {
    result_.metadata[architecture_ + "." + field] = value;
  }
  void set_size(const char* field, int64_t value) { set(field, static_cast<uint32_t>(value)); }

  void add_sizes() {
    set_size("context_length", spec_.max_positions);
    set_size("embedding_length", spec_.hidden_size);
    set_size("block_count", spec_.layers);
    set_size("feed_forward_length", spec_.intermediate_size);
    set_size("vocab_size", spec_.vocab_size);
    set_size("attention.head_count", spec_.heads);
    set_size("attention.head_count_kv", spec_.kv_heads);
    if (spec_.head_dim * spec_.heads != spec_.hidden_size) {
      set_size("attention.key_length", spec_.head_dim);
      set_size("attention.value_length", spec_.head_dim);
    }
    const bool rms = spec_.norm != model::NormKind::kLayer;
    set(rms ? "attention.layer_norm_rms_epsilon" : "attention.layer_norm_epsilon", spec_.norm_epsilon);
    if (spec_.attention_soft_cap > 0) set("attn_logit_softcapping", spec_.attention_soft_cap);
    if (spec_.logit_soft_cap > 0) set("final_logit_softcapping", spec_.logit_soft_cap);
  }

  /// One window for all layers, or the pattern of the architecture, or a flag for each layer.
  void add_windows() {
    int64_t window = 0;
    bool all = true;
    std::vector<bool> pattern;
    for (const model::LayerAttention& layer : spec_.attention) {
      window = std::max(window, layer.window);
      all &= layer.window > 0;
      pattern.push_back(layer.window > 0);
    }
    const bool has_key = architecture_ == "phi3" || architecture_.starts_with("gemma");
    if (window > 0 || has_key) set_size("attention.sliding_window", window);
    if (window == 0 || all) return;
    if (!architecture_.starts_with("gemma")) {
      fail(ErrorKind::kUnsupported,
           "{}: some layers see a window of {} tokens and others everything, which GGUF files "
           "of {} models cannot say",
           origin(), window, architecture_);
    }
    const int64_t period = architecture_ == "gemma2" ? 2 : 6;
    bool usual = true;
    for (int64_t i = 0; i < spec_.layers; ++i) usual &= pattern[i] == ((i + 1) % period != 0);
    if (!usual) set("attention.sliding_window_pattern", pattern);
  }

  void add_rope() {
    const model::Rope& rope = spec_.ropes.front();
    set_size("rope.dimension_count", rope.rotary_dim);
    if (rope.theta == 0) {
      fail(ErrorKind::kUnsupported, "{}: its rotary frequencies are listed one by one, which GGUF cannot say",
           origin());
    }
    set("rope.freq_base", static_cast<float>(rope.theta));
    json scaling = config_.value("rope_parameters", config_.value("rope_scaling", json()));
    if (scaling.contains("full_attention")) scaling = scaling["full_attention"];
    const std::string type =
        scaling.is_object() ? scaling.value("rope_type", scaling.value("type", "default")) : "default";
    if (rope.has_regimes()) {
      set_size("rope.scaling.original_context_length", rope.original_positions);
      set("rope.scaling.attn_factor", rope.magnitude);
      add_factors("rope_factors_short.weight", rope, rope.frequencies);
      add_factors("rope_factors_long.weight", rope, rope.long_frequencies);
    } else if (type == "llama3") {
      add_factors("rope_freqs.weight", rope, rope.frequencies);
    } else if (type == "linear" || type == "yarn") {
      add_scaling(type, scaling);
    } else if (type != "default") {
      fail(ErrorKind::kUnsupported, "{}: rope_type is \"{}\", which GGUF cannot say", origin(), type);
    }
    if (architecture_ == "phi3" && !rope.has_regimes()) {
      set_size("rope.scaling.original_context_length", spec_.max_positions);
    }
    if (architecture_ == "gemma3" && spec_.ropes.size() > 1) {
      set("rope.freq_base_swa", static_cast<float>(spec_.ropes[1].theta));
    }
  }

  void add_scaling(const std::string& type, const json& scaling) {
    set("rope.scaling.type", type);
    for (const auto& [field, key] :
         {std::pair{"factor", "rope.scaling.factor"}, std::pair{"beta_fast", "rope.scaling.yarn_beta_fast"},
          std::pair{"beta_slow", "rope.scaling.yarn_beta_slow"}}) {
      if (scaling.contains(field)) set(key, scaling[field].get<float>());
    }
    for (const char* field : {"attention_factor", "mscale", "mscale_all_dim", "truncate"}) {
      if (!scaling.contains(field) || scaling[field].is_null()) continue;
      fail(ErrorKind::kUnsupported, "{}: rope_scaling has {}, which GGUF cannot say", origin(), field);
    }
    if (scaling.contains("original_max_position_embeddings")) {
      set_size("rope.scaling.original_context_length", scaling["original_max_position_embeddings"].get<int64_t>());
    }
  }

  /// A divisor for the plain frequency of each pair of dimensions.
  void add_factors(const char* name, const model::Rope& rope, const std::vector<float>& frequencies) {
    const model::Rope plain = model::make_rope({.theta = rope.theta, .head_dim = rope.rotary_dim});
    std::vector<std::byte> bytes(frequencies.size() * sizeof(float));
    for (size_t i = 0; i < frequencies.size(); ++i) {
      const float factor = plain.frequencies[i] / frequencies[i];
      std::memcpy(&bytes[i * sizeof factor], &factor, sizeof factor);
    }
    result_.tensors.push_back({name, core::DType::kF32, {std::ssize(frequencies)}, [bytes] { return bytes; }});
  }

  const model::Decoder& decoder_;
  const model::DecoderSpec& spec_;
  const json& config_;
  std::string architecture_;
  GgufDescription result_;
};

}  // namespace

GgufDescription describe_for_gguf(const model::Decoder& decoder) {
  return Description(decoder).make();
}

}  // namespace salient::convert
