#include "model/synthetic.h"

#include <fmt/format.h>

#include <cmath>
#include <map>
#include <memory>

#include "core/error.h"
#include "core/random.h"
#include "model/decoder.h"
#include "model/decoder_spec.h"

namespace salient::model {

using core::DType;
using nlohmann::json;

namespace {

constexpr uint64_t kSeed = 1;
constexpr int kGroupSize = 128;
constexpr int64_t kCodesPerDraw = 16;

struct Shape {
  const char* family;
  int64_t hidden_size;
  int64_t intermediate_size;
  int64_t layers;
  int64_t heads;
  int64_t kv_heads;
  int64_t vocab_size;
  int64_t max_positions;
};

/// As the config.json of the published models says: Phi-3-mini-128k-instruct, Mistral-7B-Instruct-v0.2,
/// Phi-3-medium-128k-instruct.
const std::map<std::string, Shape>& shapes() {
  static const std::map<std::string, Shape> known = {
      {"phi-3-mini", {"phi3", 3072, 8192, 32, 32, 32, 32064, 131072}},
      {"mistral-7b", {"mistral", 4096, 14336, 32, 32, 8, 32000, 32768}},
      {"phi-3-medium", {"phi3", 5120, 17920, 40, 40, 10, 32064, 131072}},
  };
  return known;
}

/// Of the largest power of two up to 1 / sqrt(inputs): with weights of that deviation a linear about keeps the size of
/// its input.
int exponent_for(int64_t inputs) {
  int exponent = 0;
  while (int64_t{1} << (-2 * exponent) < inputs) --exponent;
  return exponent;
}

/// The codes of 16 columns from one draw.
void put_codes(uint64_t bits, uint8_t* codes) {
  for (int64_t i = 0; i < kCodesPerDraw; ++i) codes[i] = static_cast<uint8_t>(bits >> (4 * i) & 15);
}

/// Rows [first, first + rows) of a matrix.
core::QuantizedTensor make_quantized(uint64_t stream, int64_t first, int64_t rows, int64_t columns) {
  core::QuantizedTensor weights;
  weights.out_features = rows;
  weights.in_features = columns;
  weights.group_size = kGroupSize;
  weights.codes.resize(static_cast<size_t>(rows * columns));
  weights.scales.resize(static_cast<size_t>(rows * weights.groups()));
  weights.zeros.resize(weights.scales.size());
  // Codes less their zero points deviate by about 4.7; scales are 64 to 127 units.
  const float unit = std::ldexp(1.0f, exponent_for(columns) - 3 - 6);
  constexpr int64_t kDrawsPerGroup = kGroupSize / kCodesPerDraw + 1;
  for (size_t group = 0; group < weights.scales.size(); ++group) {
    const uint64_t draw = (static_cast<uint64_t>(first * weights.groups()) + group) * kDrawsPerGroup;
    const uint64_t bits = core::random_bits(kSeed, stream, draw);
    weights.scales[group] = unit * static_cast<float>(64 + (bits & 63));
    weights.zeros[group] = static_cast<uint8_t>(6 + (bits >> 6 & 3));
    for (int64_t i = 1; i < kDrawsPerGroup; ++i) {
      put_codes(core::random_bits(kSeed, stream, draw + i),
                &weights.codes[group * kGroupSize + (i - 1) * kCodesPerDraw]);
    }
  }
  return weights;
}

/// Numbers of 11 signed bits times a power of two, which fp16 holds exactly; they deviate by 591 units.
core::DenseMatrix make_dense(uint64_t stream, int64_t rows, int64_t columns, int exponent) {
  const float unit = std::ldexp(1.0f, exponent - 9);
  const auto read_rows = [=](int64_t first, int64_t count, float* out) {
    const int64_t draws = (columns + 3) / 4;
    for (int64_t row = first; row < first + count; ++row, out += columns) {
      for (int64_t column = 0; column < columns; ++column) {
        const uint64_t bits = core::random_bits(kSeed, stream, static_cast<uint64_t>(row * draws + column / 4));
        out[column] = unit * static_cast<float>(static_cast<int16_t>(bits >> (column % 4 * 16)) >> 5);
      }
    }
  };
  return {rows, columns, DType::kF16, read_rows};
}

checkpoint::StoredTensor make_ones(int64_t size) {
  const auto owned = std::make_shared<const std::vector<float>>(static_cast<size_t>(size), 1.0f);
  checkpoint::StoredTensor stored;
  stored.view = {DType::kF32, {size}, std::as_bytes(std::span(*owned))};
  stored.file = {owned, nullptr};  // no file, but what keeps the numbers alive
  return stored;
}

/// A tokenizer in sentencepiece's manner that knows bytes and nothing else: <unk>, <s>, </s>, byte b as 3 + b.
std::string make_tokenizer() {
  json vocab = {{"<unk>", 0}, {"<s>", 1}, {"</s>", 2}};
  for (int byte = 0; byte < 256; ++byte) vocab[fmt::format("<0x{:02X}>", byte)] = 3 + byte;
  json added = json::array();
  for (const char* token : {"<unk>", "<s>", "</s>"}) {
    added.push_back({{"id", vocab[token]},
                     {"content", token},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", true}});
  }
  const json decoders = {json{{"type", "ByteFallback"}}, json{{"type", "Fuse"}}};
  return json{{"version", "1.0"},
              {"added_tokens", added},
              {"normalizer", nullptr},
              {"pre_tokenizer", nullptr},
              {"post_processor", nullptr},
              {"decoder", {{"type", "Sequence"}, {"decoders", decoders}}},
              {"model",
               {{"type", "BPE"},
                {"unk_token", "<unk>"},
                {"fuse_unk", true},
                {"byte_fallback", true},
                {"vocab", vocab},
                {"merges", json::array()}}}}
      .dump();
}

}  // namespace

std::vector<std::string> synthetic_names() {
  std::vector<std::string> names;
  for (const auto& [name, shape] : shapes()) names.push_back(name);
  return names;
}

json synthetic_config(const std::string& name) {
  const auto found = shapes().find(name);
  if (found == shapes().end()) {
    core::fail(core::ErrorKind::kNotFound, "{} is no shape of a synthetic model; expected one of {}", name,
               fmt::join(synthetic_names(), ", "));
  }
  const Shape& shape = found->second;
  return {{"model_type", shape.family},
          {"architectures", {std::string(shape.family) == "phi3" ? "Phi3ForCausalLM" : "MistralForCausalLM"}},
          {"hidden_act", "silu"},
          {"vocab_size", shape.vocab_size},
          {"hidden_size", shape.hidden_size},
          {"intermediate_size", shape.intermediate_size},
          {"num_hidden_layers", shape.layers},
          {"num_attention_heads", shape.heads},
          {"num_key_value_heads", shape.kv_heads},
          {"max_position_embeddings", shape.max_positions},
          {"rms_norm_eps", 1e-5},
          {"rope_theta", 10000.0},
          {"tie_word_embeddings", false},
          {"bos_token_id", 1},
          {"eos_token_id", 2}};
}

checkpoint::Checkpoint make_synthetic(const std::string& name, const json& config) {
  checkpoint::Checkpoint made;
  made.path = name;
  made.format = "synthetic";
  made.config = config;
  made.generation_config = json::object();
  made.tokenizer_config = json::object();
  made.tokenizer_json = make_tokenizer();
  const DecoderSpec spec = read_decoder_spec(config, made.generation_config, name);
  uint64_t stream = 0;
  const auto add_dense = [&](const char* matrix, int exponent) {
    made.matrices[std::string(matrix) + ".weight"] = make_dense(stream++, spec.vocab_size, spec.hidden_size, exponent);
  };
  add_dense(kEmbeddingsName, 0);
  if (!spec.tied_embeddings) add_dense(kHeadName, exponent_for(spec.hidden_size));
  made.tensors[spec.names.final_norm + ".weight"] = make_ones(spec.hidden_size);
  for (int64_t layer = 0; layer < spec.layers; ++layer) {
    for (const NormSlot& slot : norm_slots(spec)) {
      made.tensors[layer_prefix(layer) + slot.name + ".weight"] = make_ones(slot.size);
    }
    for (const LinearSlot& slot : linear_slots(spec)) {
      if (slot.first_row > 0) continue;  // stored with another
      if (slot.in_features % kGroupSize != 0) {
        core::fail(core::ErrorKind::kUnsupported, "{}: {} has {} inputs, expected a multiple of {}", name, slot.name,
                   slot.in_features, kGroupSize);
      }
      const auto read_rows = [stream, slot](int64_t first, int64_t count) {
        return make_quantized(stream, first, count, slot.in_features);
      };
      made.quantized[layer_prefix(layer) + slot.name] = {
          {slot.stored_rows, slot.in_features, 4, kGroupSize, /*half_numbers=*/true, read_rows}};
      ++stream;
    }
  }
  return made;
}

}  // namespace salient::model
