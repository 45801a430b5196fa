#include "checkpoint/compressed_tensors.h"

#include <algorithm>
#include <array>
#include <optional>

#include "checkpoint/packed_parts.h"
#include "core/error.h"

namespace salient::checkpoint {

using core::DType;
using core::ErrorKind;
using core::fail;
using nlohmann::json;

namespace {

constexpr std::string_view kSuffix = ".weight_packed";

/// How the weights of one of the config's groups are quantized.
struct Scheme {
  int bits = 4;
  int64_t group_size = 0;  ///< 0: the whole row
  bool symmetric = true;
  bool act_order = false;
};

/// Throws unless the field is absent, null or one of `allowed`; `path` leads to it.
void allow_only(const json& object, const std::string& path, const char* field, const json& allowed,
                const std::string& origin) {
  const json value = object.value(field, json());
  if (value.is_null() || std::find(allowed.begin(), allowed.end(), value) != allowed.end()) return;
  fail(ErrorKind::kUnsupported, "{}: {}.{} is {}, which is not supported; expected {}", origin, path, field,
       value.dump(), allowed.empty() ? "none" : "one of " + allowed.dump());
}

/// The same, of a field that must be there.
json require(const json& object, const std::string& path, const char* field, const json& allowed,
             const std::string& origin) {
  allow_only(object, path, field, allowed, origin);
  json value = object.value(field, json());
  if (!value.is_null()) return value;
  fail(ErrorKind::kUnsupported, "{}: {}.{} is missing, expected one of {}", origin, path, field, allowed.dump());
}

Scheme read_scheme(const json& weights, const std::string& path, const std::string& origin) {
  Scheme scheme;
  scheme.bits = require(weights, path, "num_bits", {4, 8}, origin).get<int>();
  allow_only(weights, path, "type", json::array({"int"}), origin);
  allow_only(weights, path, "dynamic", json::array({false}), origin);
  allow_only(weights, path, "symmetric", {true, false}, origin);
  allow_only(weights, path, "block_structure", json::array(), origin);
  allow_only(weights, path, "actorder", {false, true, "weight", "static", "group", "dynamic"}, origin);
  const json order = weights.value("actorder", json());
  scheme.act_order = order == true || order == "group" || order == "dynamic";
  scheme.symmetric = weights.value("symmetric", json()) != false;
  const json strategy = require(weights, path, "strategy", {"group", "channel"}, origin);
  if (strategy == "channel") {
    allow_only(weights, path, "group_size", json::array({-1}), origin);
    return scheme;
  }
  const json sizes = {16, 32, 64, 128, 256, 512, 1024};
  scheme.group_size = require(weights, path, "group_size", sizes, origin).get<int64_t>();
  return scheme;
}

/// Every group of a checked config that has weights.
std::vector<Scheme> read_schemes(const json& config, const std::string& origin) {
  const std::string path = "quantization_config";
  const json& quantization = config.at(path);
  require(quantization, path, "format", json::array({"pack-quantized"}), origin);
  allow_only(quantization, path, "kv_cache_scheme", json::array(), origin);
  allow_only(quantization, path, "transform_config", json::array({json::object()}), origin);
  if (const json sparsity = quantization.value("sparsity_config", json()); sparsity.is_object() && !sparsity.empty()) {
    allow_only(sparsity, path + ".sparsity_config", "format", json::array({"dense"}), origin);
  }
  const json groups = quantization.value("config_groups", json());
  if (!groups.is_object() || groups.empty()) {
    fail(ErrorKind::kInvalidInput, "{}: {}.config_groups is {}, expected an object of groups", origin, path,
         groups.dump());
  }
  std::vector<Scheme> schemes;
  for (const auto& [name, group] : groups.items()) {
    const std::string group_path = path + ".config_groups." + name;
    if (!group.is_object()) {
      fail(ErrorKind::kUnsupported, "{}: {} is {}, expected an object", origin, group_path, group.dump());
    }
    for (const char* field : {"input_activations", "output_activations"}) {
      allow_only(group, group_path, field, json::array(), origin);
    }
    allow_only(group, group_path, "format", json::array({"pack-quantized"}), origin);
    const json weights = group.value("weights", json());
    if (!weights.is_object()) {
      fail(ErrorKind::kUnsupported, "{}: {}.weights is {}, expected an object", origin, group_path, weights.dump());
    }
    schemes.push_back(read_scheme(weights, group_path + ".weights", origin));
  }
  return schemes;
}

/// One linear: its tensors and how they are read.
struct Parts {
  int bits = 4;
  int64_t out_features = 0;
  int64_t in_features = 0;
  int64_t groups = 0;
  StoredTensor packed;
  StoredTensor scale;
  std::optional<StoredTensor> zero_point;
  std::vector<int32_t> order;  ///< the input of each column; empty: column i reads input i
  std::string origin;          ///< "MODEL: tensor PREFIX"
};

uint8_t read_zero(const Parts& parts, int64_t out, int64_t group) {
  const int middle = 1 << (parts.bits - 1);
  if (!parts.zero_point) return static_cast<uint8_t>(middle);
  const std::byte* bytes = parts.zero_point->view.bytes.data();
  const int64_t per_word = 32 / parts.bits;
  if (parts.zero_point->view.dtype == DType::kI32) {
    return packed_code(bytes, out / per_word * parts.groups + group, out % per_word, parts.bits);
  }
  const int zero = static_cast<int8_t>(bytes[out * parts.groups + group]) + middle;
  if (zero < 0 || zero >= 2 * middle) {
    fail(ErrorKind::kInvalidInput, "{}.weight_zero_point: is {} in row {}, group {}, which does not fit {} bits",
         parts.origin, zero - middle, out, group, parts.bits);
  }
  return static_cast<uint8_t>(zero);
}

/// Outputs [first, first + count).
core::QuantizedTensor unpack(const Parts& parts, int held_size, int64_t first, int64_t count) {
  core::QuantizedTensor weights;
  weights.bits = parts.bits;
  weights.out_features = count;
  weights.in_features = parts.in_features;
  weights.group_size = static_cast<int>(parts.in_features / parts.groups);
  weights.column_input = parts.order;
  const int64_t ins = parts.in_features;
  const std::byte* rows = parts.packed.view.bytes.data() + first * (ins * parts.bits / 8);
  weights.codes.resize(count * ins);
  for (int64_t out = 0; out < count; ++out) {
    unpack_ordered(parts.order, &weights.codes[out * ins],
                   [&](uint8_t* codes) { unpack_codes(rows + out * (ins * parts.bits / 8), ins, parts.bits, codes); });
  }
  weights.scales = read_scales(parts.scale, first * parts.groups, count * parts.groups, parts.origin + ".weight_scale");
  weights.zeros.reserve(weights.scales.size());
  for (int64_t out = first; out < first + count; ++out) {
    for (int64_t group = 0; group < parts.groups; ++group) weights.zeros.push_back(read_zero(parts, out, group));
  }
  weights.split_groups(held_size);
  return weights;
}

/// The two numbers of `P.weight_shape`, [out_features, in_features].
std::array<int64_t, 2> read_shape(const Checkpoint& checkpoint, const std::string& name) {
  const StoredTensor& stored = checkpoint.tensor(name);
  std::array<int64_t, 2> shape{};
  if (stored.view.dtype == DType::kI32 && stored.view.shape == std::vector<int64_t>{2}) {
    std::array<int32_t, 2> narrow{};
    std::memcpy(narrow.data(), stored.view.bytes.data(), sizeof narrow);
    shape = {narrow[0], narrow[1]};
  } else {
    checked_tensor(checkpoint, name, DType::kI64, {2});
    std::memcpy(shape.data(), stored.view.bytes.data(), sizeof shape);
  }
  if (shape[0] <= 0 || shape[1] <= 0 || shape[0] > INT32_MAX || shape[1] > INT32_MAX) {
    fail(ErrorKind::kInvalidInput, "{}: tensor {} says [{}, {}], expected sizes from 1 to 2^31 - 1",
         checkpoint.path.string(), name, shape[0], shape[1]);
  }
  return shape;
}

/// Packed zero points, or those of older versions.
StoredTensor checked_zero_point(const Checkpoint& checkpoint, const std::string& name, const Parts& parts) {
  if (checkpoint.tensor(name).view.dtype == DType::kI8) {
    return checked_tensor(checkpoint, name, DType::kI8, {parts.out_features, parts.groups});
  }
  const int64_t words = (parts.out_features * parts.bits + 31) / 32;
  return checked_tensor(checkpoint, name, DType::kI32, {words, parts.groups});
}

/// True when every input's group is -1: the tensor is there, but inputs are in their own order.
bool says_nothing(const StoredTensor& group_of_input) {
  const auto bytes = group_of_input.view.bytes;
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte byte) { return byte == std::byte{0xff}; });
}

StoredQuantized describe_linear(const Checkpoint& checkpoint, const std::string& prefix,
                                const std::vector<Scheme>& schemes) {
  Parts parts;
  parts.origin = fmt::format("{}: tensor {}", checkpoint.path.string(), prefix);
  parts.packed = checked_words(checkpoint, prefix + ".weight_packed", "[out_features, words]");
  const std::array<int64_t, 2> shape = read_shape(checkpoint, prefix + ".weight_shape");
  parts.out_features = shape[0];
  parts.in_features = shape[1];
  const auto& words = parts.packed.view.shape;
  const bool four = words[1] * 8 == parts.in_features;
  if (words[0] != parts.out_features || (!four && words[1] * 4 != parts.in_features)) {
    fail(ErrorKind::kInvalidInput, "{}.weight_packed is I32 [{}, {}], which does not hold the [{}, {}] of weight_shape",
         parts.origin, words[0], words[1], parts.out_features, parts.in_features);
  }
  parts.bits = four ? 4 : 8;
  const bool has_zeros = checkpoint.has(prefix + ".weight_zero_point");
  const auto& scale_shape = checkpoint.tensor(prefix + ".weight_scale").view.shape;
  const int64_t groups = scale_shape.size() == 2 ? scale_shape[1] : 0;
  const auto scheme = std::find_if(schemes.begin(), schemes.end(), [&](const Scheme& s) {
    const int64_t size = s.group_size == 0 ? parts.in_features : s.group_size;
    return s.bits == parts.bits && s.symmetric == !has_zeros && groups > 0 && parts.in_features % size == 0 &&
           parts.in_features / size == groups;
  });
  if (scheme == schemes.end()) {
    fail(ErrorKind::kInvalidInput,
         "{} is [{}, {}] of {} bits with weight_scale [{}], {} zero points, which none of "
         "quantization_config.config_groups says",
         parts.origin, parts.out_features, parts.in_features, parts.bits, fmt::join(scale_shape, ", "),
         has_zeros ? "with" : "without");
  }
  parts.groups = groups;
  parts.scale = checked_scales(checkpoint, prefix + ".weight_scale", {parts.out_features, groups});
  if (has_zeros) parts.zero_point = checked_zero_point(checkpoint, prefix + ".weight_zero_point", parts);
  const std::string order = prefix + ".weight_g_idx";
  if ((scheme->act_order && groups > 1) || (checkpoint.has(order) && !says_nothing(checkpoint.tensor(order)))) {
    parts.order = inputs_by_group(checkpoint, order, parts.in_features, groups);
  }
  StoredQuantized stored;
  stored.bits = parts.bits;
  stored.out_features = parts.out_features;
  stored.in_features = parts.in_features;
  stored.group_size = held_group_size(checkpoint, prefix, parts.in_features / groups);
  stored.half_numbers = parts.scale.view.dtype == DType::kF16;
  stored.read_rows = [parts, size = stored.group_size](int64_t first, int64_t count) {
    return unpack(parts, size, first, count);
  };
  return stored;
}

}  // namespace

void check_compressed_tensors_config(const json& config, const std::string& origin) {
  read_schemes(config, origin);
}

void describe_compressed_tensors_linears(Checkpoint& checkpoint) {
  const std::vector<Scheme> schemes = read_schemes(checkpoint.config, checkpoint.path.string());
  for (const auto& [name, unused] : checkpoint.tensors) {
    if (!name.ends_with(kSuffix)) continue;
    const std::string prefix = name.substr(0, name.size() - kSuffix.size());
    checkpoint.quantized.emplace(prefix, describe_linear(checkpoint, prefix, schemes));
  }
}

std::vector<OutputTensor> pack_compressed_tensors_linear(const core::QuantizedTensor& weights,
                                                         const std::string& prefix, bool symmetric) {
  const int64_t outs = weights.out_features;
  const int64_t ins = weights.in_features;
  const int64_t groups = weights.groups();
  const int64_t per_word = 32 / weights.bits;
  check_packable(weights, prefix, "compressed-tensors' layout");
  if (ins % per_word != 0) {
    fail(ErrorKind::kUnsupported,
         "tensor {}: {} inputs do not fit compressed-tensors' layout, expected a multiple of {}", prefix, ins,
         per_word);
  }
  if (symmetric && !is_symmetric(weights)) {
    fail(ErrorKind::kUnsupported, "tensor {}: has a zero point that is not {}, as symmetric weights have", prefix,
         1 << (weights.bits - 1));
  }
  const int64_t zero_rows = (outs + per_word - 1) / per_word;
  const auto make = [&](const char* suffix, DType dtype, std::vector<int64_t> shape, int64_t bytes) {
    return OutputTensor{prefix + suffix, dtype, std::move(shape), std::vector<std::byte>(bytes)};
  };
  OutputTensor packed = make(".weight_packed", DType::kI32, {outs, ins / per_word}, outs * ins / per_word * 4);
  OutputTensor scale = make(".weight_scale", DType::kF16, {outs, groups}, outs * groups * 2);
  OutputTensor zero_point = make(".weight_zero_point", DType::kI32, {zero_rows, groups}, zero_rows * groups * 4);
  OutputTensor shape = make(".weight_shape", DType::kI64, {2}, 16);
  const std::array<int64_t, 2> sizes = {outs, ins};
  std::memcpy(shape.bytes.data(), sizes.data(), sizeof sizes);
  for (int64_t out = 0; out < outs; ++out) {
    for (int64_t in = 0; in < ins; ++in) {
      put_packed_code(packed.bytes.data(), (out * ins + in) / per_word, in % per_word, weights.bits,
                      weights.codes[out * ins + in]);
    }
    for (int64_t group = 0; group < groups; ++group) {
      const uint16_t half = exact_half(weights, out, group, prefix);
      std::memcpy(&scale.bytes[(out * groups + group) * 2], &half, sizeof half);
      put_packed_code(zero_point.bytes.data(), out / per_word * groups + group, out % per_word, weights.bits,
                      weights.zeros[out * groups + group]);
    }
  }
  std::vector<OutputTensor> tensors;
  for (OutputTensor* tensor : {&packed, &scale, &shape}) tensors.push_back(std::move(*tensor));
  if (!symmetric) tensors.push_back(std::move(zero_point));
  return tensors;
}

json compressed_tensors_quantization_config(const PackedSettings& settings) {
  json ignore = settings.dense_linears;
  ignore.push_back("lm_head");
  const auto make_group = [&](const json& targets, int bits, bool symmetric) -> json {
    const json weights = {{"num_bits", bits},       {"type", "int"},
                          {"symmetric", symmetric}, {"group_size", settings.group_size},
                          {"strategy", "group"},    {"dynamic", false}};
    return {{"targets", targets},
            {"weights", weights},
            {"input_activations", nullptr},
            {"output_activations", nullptr},
            {"format", "pack-quantized"}};
  };
  json groups = json::object();
  if (settings.int8_linears.empty()) {
    groups["group_0"] = make_group(json::array({"Linear"}), settings.bits, settings.symmetric);
  } else {
    if (!settings.int4_linears.empty()) groups["group_0"] = make_group(settings.int4_linears, 4, settings.symmetric);
    groups[fmt::format("group_{}", groups.size())] = make_group(settings.int8_linears, 8, true);
  }
  return {{"quant_method", "compressed-tensors"},
          {"format", "pack-quantized"},
          {"quantization_status", "compressed"},
          {"config_groups", groups},
          {"ignore", ignore},
          {"kv_cache_scheme", nullptr},
          {"global_compression_ratio", nullptr}};
}

}  // namespace salient::checkpoint
