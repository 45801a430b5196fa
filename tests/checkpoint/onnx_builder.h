#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "tests/support/temporary_folder.h"

namespace salient::tests {

/// Writes protobuf messages field by field.
class ProtoWriter {
 public:
  std::string bytes;

  ProtoWriter& varint(int field, int64_t value) {
    put(static_cast<uint64_t>(field) << 3);
    put(static_cast<uint64_t>(value));
    return *this;
  }
  ProtoWriter& text(int field, const std::string& value) {
    put(static_cast<uint64_t>(field) << 3 | 2);
    put(value.size());
    bytes += value;
    return *this;
  }
  ProtoWriter& number(int field, float value) {
    put(static_cast<uint64_t>(field) << 3 | 5);
    bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
    return *this;
  }
  void put(uint64_t value) {
    for (; value > 127; value >>= 7) bytes += static_cast<char>((value & 127) | 128);
    bytes += static_cast<char>(value);
  }
};

/// The bytes of numbers, one after the other.
template <typename T>
std::string raw_bytes(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

constexpr int64_t kOnnxFloat = 1;
constexpr int64_t kOnnxUint8 = 2;
constexpr int64_t kOnnxInt32 = 6;
constexpr int64_t kOnnxInt64 = 7;
constexpr int64_t kOnnxFloat16 = 10;

struct BuiltTensor {
  std::string name;
  int64_t type = kOnnxFloat;
  std::vector<int64_t> dims;
  std::string raw;
  std::map<std::string, std::string> external;  ///< instead of `raw`, where there are any

  std::string message() const {
    ProtoWriter writer;
    for (const int64_t size : dims) writer.varint(1, size);
    writer.varint(2, type).text(8, name);
    if (external.empty()) return writer.text(9, raw).bytes;
    for (const auto& [key, value] : external) writer.text(13, ProtoWriter().text(1, key).text(2, value).bytes);
    return writer.varint(14, 1).bytes;
  }
};

inline BuiltTensor float_tensor(const std::string& name, std::vector<int64_t> dims, const std::vector<float>& values) {
  return {name, kOnnxFloat, std::move(dims), raw_bytes(values), {}};
}

inline BuiltTensor integer_tensor(const std::string& name, std::vector<int64_t> dims,
                                  const std::vector<int64_t>& values) {
  return {name, kOnnxInt64, std::move(dims), raw_bytes(values), {}};
}

/// An attribute that is a tensor or a whole graph, as a message.
struct BuiltTensorAttribute {
  std::string message;
};
struct BuiltGraphAttribute {
  std::string message;
};

struct BuiltNode {
  std::string op;  ///< "com.microsoft.X" is X of that domain
  std::string name;
  std::vector<std::string> inputs;
  std::vector<std::string> outputs;
  std::map<std::string, std::variant<int64_t, float, BuiltTensorAttribute, BuiltGraphAttribute>> attributes = {};

  std::string message() const {
    ProtoWriter writer;
    for (const std::string& input : inputs) writer.text(1, input);
    for (const std::string& output : outputs) writer.text(2, output);
    const size_t dot = op.rfind('.');
    writer.text(3, name).text(4, dot == std::string::npos ? op : op.substr(dot + 1));
    for (const auto& [key, value] : attributes) {
      ProtoWriter attribute;
      attribute.text(1, key);
      if (const auto* integer = std::get_if<int64_t>(&value)) attribute.varint(3, *integer);
      if (const auto* number = std::get_if<float>(&value)) attribute.number(2, *number);
      if (const auto* tensor = std::get_if<BuiltTensorAttribute>(&value)) attribute.text(5, tensor->message);
      if (const auto* graph = std::get_if<BuiltGraphAttribute>(&value)) attribute.text(6, graph->message);
      writer.text(5, attribute.bytes);
    }
    if (dot != std::string::npos) writer.text(7, op.substr(0, dot));
    return writer.bytes;
  }
};

inline BuiltNode constant_node(const std::string& output, const BuiltTensor& value) {
  return {"Constant", output + "/Constant", {}, {output}, {{"value", BuiltTensorAttribute{value.message()}}}};
}

struct BuiltGraph {
  std::vector<BuiltNode> nodes = {};
  std::vector<BuiltTensor> tensors = {};
  std::vector<std::string> inputs = {};
  std::vector<std::string> outputs = {};

  BuiltNode& node(const std::string& name) {
    for (BuiltNode& found : nodes) {
      if (found.name == name) return found;
    }
    throw std::runtime_error("no node " + name);
  }
  BuiltTensor& tensor(const std::string& name) {
    for (BuiltTensor& found : tensors) {
      if (found.name == name) return found;
    }
    throw std::runtime_error("no tensor " + name);
  }
  std::string message() const {
    ProtoWriter writer;
    for (const BuiltNode& found : nodes) writer.text(1, found.message());
    for (const BuiltTensor& found : tensors) writer.text(5, found.message());
    for (const std::string& name : inputs) writer.text(11, ProtoWriter().text(1, name).bytes);
    for (const std::string& name : outputs) writer.text(12, ProtoWriter().text(1, name).bytes);
    return writer.bytes;
  }
  std::string model() const { return ProtoWriter().varint(1, 10).text(2, "a test").text(7, message()).bytes; }
};

/// Numbers that look random and are the same everywhere.
inline uint32_t mixed(uint32_t index) {
  index = (index ^ 61u) ^ (index >> 16);
  index *= 9u;
  index ^= index >> 4;
  index *= 0x27d4eb2du;
  return index ^ (index >> 15);
}

/// The tables of a rotary embedding with these frequencies.
inline std::vector<float> rope_table(const std::vector<float>& frequencies, int64_t rows, float magnitude,
                                     double (*circular)(double)) {
  std::vector<float> values;
  for (int64_t row = 0; row < rows; ++row) {
    for (const float frequency : frequencies) {
      values.push_back(static_cast<float>(circular(static_cast<float>(row) * frequency)) * magnitude);
    }
  }
  return values;
}

inline std::vector<float> rope_frequencies(double theta, int64_t pairs) {
  std::vector<float> frequencies;
  for (int64_t i = 0; i < pairs; ++i) {
    frequencies.push_back(static_cast<float>(std::pow(theta, -static_cast<double>(i) / static_cast<double>(pairs))));
  }
  return frequencies;
}

/// A decoder of the Llama kind as a graph, with one layer: 32 hidden, 2 heads of 16 of which 1 for keys and values,
/// an MLP of 32, 48 tokens, int4 in blocks of 32.
inline constexpr int64_t kOnnxHidden = 32;
inline constexpr int64_t kOnnxVocabulary = 48;
inline constexpr int64_t kOnnxRows = 64;

class DecoderGraph : public BuiltGraph {
 public:
  DecoderGraph() {
    inputs = {"input_ids", "attention_mask", "position_ids", "past.0.key", "past.0.value"};
    outputs = {"logits", "present.0.key", "present.0.value"};
    add_lengths();
    std::vector<float> embeddings;
    for (uint32_t i = 0; i < kOnnxVocabulary * kOnnxHidden; ++i) {
      embeddings.push_back(static_cast<float>(mixed(i) % 200) / 100 - 1);
    }
    tensors.push_back(float_tensor("embed", {kOnnxVocabulary, kOnnxHidden}, embeddings));
    nodes.push_back({"Gather", "/embed", {"embed", "input_ids"}, {"hidden"}});
    add_weight("norm_a");
    nodes.push_back({"SimplifiedLayerNormalization",
                     "/norm_a",
                     {"hidden", "norm_a"},
                     {"a"},
                     {{"epsilon", 1e-5f}, {"axis", int64_t{-1}}}});
    add_linear("qkv", "a", 64);
    const auto frequencies = rope_frequencies(10000, 8);
    tensors.push_back(float_tensor("cos", {kOnnxRows, 8}, rope_table(frequencies, kOnnxRows, 1, std::cos)));
    tensors.push_back(float_tensor("sin", {kOnnxRows, 8}, rope_table(frequencies, kOnnxRows, 1, std::sin)));
    nodes.push_back({"com.microsoft.GroupQueryAttention",
                     "/attention",
                     {"qkv.out", "", "", "past.0.key", "past.0.value", "lengths", "total", "cos", "sin"},
                     {"attended", "present.0.key", "present.0.value"},
                     {{"num_heads", int64_t{2}}, {"kv_num_heads", int64_t{1}}, {"do_rotary", int64_t{1}}}});
    add_linear("o", "attended", kOnnxHidden);
    add_norm("norm_b", "hidden", "o.out", "b", "sum_b");
    add_linear("gate", "b", 32);
    add_linear("up", "b", 32);
    nodes.push_back({"Sigmoid", "/sigmoid", {"gate.out"}, {"sigmoid"}});
    nodes.push_back({"Mul", "/silu", {"gate.out", "sigmoid"}, {"silu"}});
    nodes.push_back({"Mul", "/product", {"silu", "up.out"}, {"product"}});
    add_linear("down", "product", kOnnxHidden);
    add_norm("norm_c", "sum_b", "down.out", "c", "");
    add_linear("head", "c", kOnnxVocabulary);
    node("/head").outputs = {"logits"};
  }

  /// Code, scale and zero point (8) of a linear.
  static int code(const std::string& name, int64_t row, int64_t column) {
    return static_cast<int>(mixed(static_cast<uint32_t>(name.size() * 7919 + row * 131 + column)) % 16);
  }
  static float scale(int64_t row) { return (row % 3 == 0 ? -0.01f : 0.02f) + static_cast<float>(row) * 0.0005f; }

 private:
  void add_lengths() {
    tensors.push_back(integer_tensor("one", {1}, {1}));
    nodes.push_back({"ReduceSum", "/lengths/sum", {"attention_mask", "one"}, {"lengths.sum"}});
    nodes.push_back({"Sub", "/lengths/less_one", {"lengths.sum", "one"}, {"lengths.less"}});
    nodes.push_back({"Cast", "/lengths/cast", {"lengths.less"}, {"lengths"}, {{"to", int64_t{6}}}});
    nodes.push_back({"Shape", "/total/shape", {"attention_mask"}, {"total.shape"}});
    nodes.push_back({"Gather", "/total/gather", {"total.shape", "one"}, {"total.long"}});
    nodes.push_back({"Cast", "/total/cast", {"total.long"}, {"total"}, {{"to", int64_t{6}}}});
  }
  void add_weight(const std::string& name) {
    std::vector<float> values(kOnnxHidden);
    for (size_t i = 0; i < values.size(); ++i) values[i] = 1 + static_cast<float>(i) / 64;
    tensors.push_back(float_tensor(name, {kOnnxHidden}, values));
  }
  void add_norm(const std::string& name, const std::string& stream, const std::string& branch,
                const std::string& output, const std::string& sum) {
    add_weight(name);
    nodes.push_back({"com.microsoft.SkipSimplifiedLayerNormalization",
                     "/" + name,
                     {stream, branch, name},
                     {output, "", "", sum},
                     {{"epsilon", 1e-5f}}});
  }
  void add_linear(const std::string& name, const std::string& input, int64_t rows) {
    BuiltTensor codes{name + ".q", kOnnxUint8, {rows, 1, 16}, "", {}};
    std::vector<float> scales;
    for (int64_t row = 0; row < rows; ++row) {
      for (int64_t i = 0; i < 16; ++i) {
        codes.raw += static_cast<char>(code(name, row, 2 * i) | (code(name, row, 2 * i + 1) << 4));
      }
      scales.push_back(scale(row));
    }
    tensors.push_back(codes);
    tensors.push_back(float_tensor(name + ".scales", {rows, 1}, scales));
    nodes.push_back({"com.microsoft.MatMulNBits",
                     "/" + name,
                     {input, name + ".q", name + ".scales"},
                     {name + ".out"},
                     {{"K", int64_t{32}}, {"N", rows}, {"bits", int64_t{4}}, {"block_size", int64_t{32}}}});
  }
};

inline nlohmann::json genai_config() {
  return {{"model",
           {{"type", "llama"},
            {"vocab_size", kOnnxVocabulary},
            {"context_length", 64},
            {"bos_token_id", 1},
            {"eos_token_id", {2, 3}},
            {"pad_token_id", 0},
            {"decoder",
             {{"filename", "model.onnx"},
              {"hidden_size", kOnnxHidden},
              {"num_attention_heads", 2},
              {"num_key_value_heads", 1},
              {"num_hidden_layers", 1},
              {"head_size", 16},
              {"outputs", {{"logits", "logits"}}}}}}}};
}

inline void write_onnx_folder(const std::filesystem::path& folder, const BuiltGraph& graph,
                              const nlohmann::json& config = genai_config()) {
  write_text(folder / "genai_config.json", config.dump());
  write_text(folder / "model.onnx", graph.model());
}

}  // namespace salient::tests
