#include "checkpoint/gptq.h"

#include <algorithm>
#include <array>

#include "checkpoint/packed_parts.h"
#include "core/error.h"

namespace salient::checkpoint {

using core::DType;
using core::ErrorKind;
using core::fail;
using nlohmann::json;

namespace {

constexpr std::string_view kSuffix = ".qweight";

/// meta.quantizer is "name:version" or a list of such.
bool made_by_gptqmodel(const json& quantization) {
  const json meta = quantization.value("meta", json());
  const json quantizer = meta.is_object() ? meta.value("quantizer", json()) : json();
  const auto names_it = [](const json& text) {
    return text.is_string() && text.get<std::string>().starts_with("gptqmodel:");
  };
  if (quantizer.is_array()) return std::any_of(quantizer.begin(), quantizer.end(), names_it);
  return names_it(quantizer);
}

/// Settings of single linears may only leave them dense (a key that begins with "-:"), which their tensors show.
void check_dynamic(const json& dynamic, const std::string& origin) {
  if (dynamic.is_null()) return;
  for (const auto& [pattern, settings] : dynamic.items()) {
    if (dynamic.is_object() && pattern.starts_with("-:")) continue;
    fail(ErrorKind::kUnsupported,
         "{}: quantization_config.dynamic has {}, which is not supported; expected keys \"-:\"", origin, pattern);
  }
}

/// One linear: its tensors and how they are read.
struct Parts {
  StoredTensor qweight;
  StoredTensor qzeros;
  StoredTensor scales;
  std::vector<int32_t> order;  ///< the input of each column; empty: column i reads input i
  std::string origin;          ///< "MODEL: tensor PREFIX"
};

/// The zero points of one group, out_features of them, from its words.
void unpack_zeros(const std::byte* words, int64_t count, const GptqSettings& settings, const std::string& origin,
                  std::vector<uint16_t>& zeros) {
  const int64_t per_word = 32 / settings.bits;
  const uint32_t ones = settings.bits == 4 ? 0x11111111 : 0x01010101;
  for (int64_t word = 0; word < count / per_word; ++word) {
    uint32_t value;
    std::memcpy(&value, words + word * 4, sizeof value);
    if (settings.zeros == GptqZeros::kWordsLessOne) value += ones;
    for (int64_t place = 0; place < per_word; ++place) {
      uint32_t zero = value >> (place * settings.bits) & ((1u << settings.bits) - 1);
      if (settings.zeros == GptqZeros::kLessOne) ++zero;
      if (zero > 255)
        fail(ErrorKind::kUnsupported, "{}.qzeros: holds the zero point {}, expected 0 to 255", origin, zero);
      zeros[word * per_word + place] = static_cast<uint16_t>(zero);
    }
  }
}

/// The codes of one output, in the order of inputs.
void unpack_output(const Parts& parts, int bits, int64_t out, uint8_t* codes) {
  const int64_t words = parts.qweight.view.shape[0];
  const int64_t outs = parts.qweight.view.shape[1];
  const int64_t per_word = 32 / bits;
  for (int64_t i = 0; i < words; ++i) {
    unpack_codes(parts.qweight.view.bytes.data() + (i * outs + out) * 4, per_word, bits, codes + i * per_word);
  }
}

/// Outputs [first, first + count).
core::QuantizedTensor unpack(const Parts& parts, const GptqSettings& settings, int held_size, int64_t first,
                             int64_t count) {
  const int64_t per_word = 32 / settings.bits;
  core::QuantizedTensor weights;
  weights.bits = settings.bits;
  weights.out_features = count;
  weights.in_features = parts.qweight.view.shape[0] * per_word;
  const int64_t outs = parts.qweight.view.shape[1];
  const int64_t ins = weights.in_features;
  const int64_t groups = parts.scales.view.shape[0];
  weights.group_size = static_cast<int>(ins / groups);
  weights.column_input = parts.order;
  weights.codes.resize(count * ins);
  for (int64_t out = 0; out < count; ++out) {
    unpack_ordered(parts.order, &weights.codes[out * ins],
                   [&](uint8_t* codes) { unpack_output(parts, settings.bits, first + out, codes); });
  }
  weights.scales.resize(count * groups);
  weights.zeros.resize(count * groups);
  std::vector<uint16_t> zeros(outs);
  for (int64_t group = 0; group < groups; ++group) {
    const std::vector<float> scales = read_scales(parts.scales, group * outs + first, count, parts.origin + ".scales");
    unpack_zeros(parts.qzeros.view.bytes.data() + group * (outs / per_word) * 4, outs, settings, parts.origin, zeros);
    for (int64_t out = 0; out < count; ++out) {
      weights.scales[out * groups + group] = scales[out];
      weights.zeros[out * groups + group] = static_cast<uint8_t>(zeros[first + out]);
    }
  }
  weights.split_groups(held_size);
  return weights;
}

StoredQuantized describe_linear(const Checkpoint& checkpoint, const std::string& prefix, const GptqSettings& settings) {
  const std::string origin = fmt::format("{}: tensor {}", checkpoint.path.string(), prefix);
  const int64_t per_word = 32 / settings.bits;
  Parts parts;
  parts.origin = origin;
  parts.qweight =
      checked_words(checkpoint, prefix + ".qweight", fmt::format("[in_features / {}, out_features]", per_word));
  StoredQuantized stored;
  stored.bits = settings.bits;
  stored.in_features = parts.qweight.view.shape[0] * per_word;
  stored.out_features = parts.qweight.view.shape[1];
  const int64_t group_size = settings.group_size == -1 ? stored.in_features : settings.group_size;
  if (stored.in_features % group_size != 0) {
    fail(ErrorKind::kInvalidInput, "{}.qweight has {} inputs, which group_size {} does not divide", origin,
         stored.in_features, group_size);
  }
  if (stored.out_features % per_word != 0) {
    fail(ErrorKind::kUnsupported, "{}.qweight has {} outputs, expected a multiple of {}", origin, stored.out_features,
         per_word);
  }
  const int64_t groups = stored.in_features / group_size;
  parts.scales = checked_scales(checkpoint, prefix + ".scales", {groups, stored.out_features});
  parts.qzeros = checked_tensor(checkpoint, prefix + ".qzeros", DType::kI32, {groups, stored.out_features / per_word});
  if (const std::string name = prefix + ".g_idx"; checkpoint.has(name) || (settings.act_order && groups > 1)) {
    parts.order = inputs_by_group(checkpoint, name, stored.in_features, groups);
  }
  stored.group_size = held_group_size(checkpoint, prefix, group_size);
  stored.half_numbers = parts.scales.view.dtype == DType::kF16;
  stored.read_rows = [parts, settings, size = stored.group_size](int64_t first, int64_t count) {
    return unpack(parts, settings, size, first, count);
  };
  return stored;
}

}  // namespace

GptqSettings read_gptq_settings(const json& config, const std::string& origin) {
  const json& quantization = config.at("quantization_config");
  const auto one_of = [&](const char* field, const json& otherwise, const json& expected) {
    const json value = quantization.value(field, otherwise);
    if (std::find(expected.begin(), expected.end(), value) != expected.end()) return value;
    fail(ErrorKind::kUnsupported, "{}: quantization_config.{} is {}, which is not supported; expected one of {}",
         origin, field, value.dump(), expected.dump());
  };
  GptqSettings settings;
  settings.bits = one_of("bits", nullptr, {4, 8}).get<int>();
  settings.group_size = one_of("group_size", 128, {-1, 16, 32, 64, 128, 256, 512, 1024}).get<int64_t>();
  settings.act_order = one_of("desc_act", false, {true, false}).get<bool>();
  one_of("sym", true, {true, false});
  const json format = one_of("checkpoint_format", quantization.value("format", json("gptq")), {"gptq", "gptq_v2"});
  one_of("format", format, json::array({format}));
  one_of("method", "gptq", json::array({"gptq"}));
  one_of("is_marlin_format", false, {false, nullptr});
  one_of("pack_dtype", "int32", {"int32", nullptr});
  one_of("rotation", nullptr, json::array({nullptr}));
  check_dynamic(quantization.value("dynamic", json()), origin);
  if (format == "gptq_v2") {
    settings.zeros = GptqZeros::kPlain;
  } else if (made_by_gptqmodel(quantization)) {
    settings.zeros = GptqZeros::kWordsLessOne;
  }
  return settings;
}

void describe_gptq_linears(Checkpoint& checkpoint) {
  const GptqSettings settings = read_gptq_settings(checkpoint.config, checkpoint.path.string());
  for (const auto& [name, unused] : checkpoint.tensors) {
    if (!name.ends_with(kSuffix)) continue;
    const std::string prefix = name.substr(0, name.size() - kSuffix.size());
    checkpoint.quantized.emplace(prefix, describe_linear(checkpoint, prefix, settings));
  }
}

}  // namespace salient::checkpoint
