#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <type_traits>
#include <vector>

#include "tests/support/temporary_folder.h"

namespace salient::checkpoint {

/// The bytes of GGUF files, whole or deliberately wrong, after the ggml project's docs/gguf.md.
class GgufBuilder {
 public:
  uint32_t version = 3;
  uint64_t extra_tensors = 0;   ///< how many more tensors the header promises than there are
  uint64_t extra_metadata = 0;  ///< likewise
  uint64_t alignment = 32;      ///< of the data; `add("general.alignment", ...)` says so in the file

  /// A number or bool, with the value type of T.
  template <typename T>
  GgufBuilder& add(const std::string& key, T value) {
    static_assert(std::is_arithmetic_v<T>);
    return add_raw(key, value_type<T>(), plain(value));
  }
  GgufBuilder& add(const std::string& key, const std::string& value) { return add_raw(key, kString, text(value)); }
  GgufBuilder& add(const std::string& key, const char* value) { return add(key, std::string(value)); }

  template <typename T>
  GgufBuilder& add_array(const std::string& key, const std::vector<T>& values) {
    std::string bytes;
    for (const T& value : values) {
      if constexpr (std::is_arithmetic_v<T>) {
        bytes += plain(value);
      } else {
        bytes += text(value);
      }
    }
    return add_raw(key, kArray, plain(value_type<T>()) + plain(uint64_t{values.size()}) + bytes);
  }

  /// A metadata entry of any type with these bytes.
  GgufBuilder& add_raw(const std::string& key, uint32_t type, const std::string& bytes) {
    metadata_ += text(key) + plain(type) + bytes;
    ++metadata_count_;
    return *this;
  }

  /// A tensor; the contiguous dimension comes first, as in the file.
  GgufBuilder& tensor(const std::string& name, const std::vector<uint64_t>& sizes, uint32_t type,
                      const std::string& bytes) {
    data_.resize((data_.size() + alignment - 1) / alignment * alignment, '\0');
    entry(name, sizes, type, data_.size());
    data_ += bytes;
    return *this;
  }

  /// A tensor's entry alone, right or wrong.
  GgufBuilder& entry(const std::string& name, const std::vector<uint64_t>& sizes, uint32_t type, uint64_t offset) {
    entries_ += text(name) + plain(static_cast<uint32_t>(sizes.size()));
    for (const uint64_t size : sizes) entries_ += plain(size);
    entries_ += plain(type) + plain(offset);
    ++tensor_count_;
    return *this;
  }

  std::string bytes() const {
    std::string file = "GGUF" + plain(version) + plain(tensor_count_ + extra_tensors) +
                       plain(metadata_count_ + extra_metadata) + metadata_ + entries_;
    if (data_.empty()) return file;
    file.resize((file.size() + alignment - 1) / alignment * alignment, '\0');
    return file + data_;
  }

  void write(const std::filesystem::path& path) const { tests::write_text(path, bytes()); }

  template <typename T>
  static std::string plain(T value) {
    return {reinterpret_cast<const char*>(&value), sizeof value};
  }
  static std::string text(const std::string& value) { return plain(uint64_t{value.size()}) + value; }

  static constexpr uint32_t kString = 8;
  static constexpr uint32_t kArray = 9;

  template <typename T>
  static constexpr uint32_t value_type() {
    if constexpr (std::is_same_v<T, bool>) return 7;
    if constexpr (std::is_same_v<T, std::string>) return kString;
    if constexpr (std::is_same_v<T, float>) return 6;
    if constexpr (std::is_same_v<T, double>) return 12;
    if constexpr (std::is_integral_v<T>) {
      constexpr uint32_t kUnsigned = sizeof(T) == 1 ? 0 : sizeof(T) == 2 ? 2 : sizeof(T) == 4 ? 4 : 10;
      return kUnsigned + (std::is_signed_v<T> ? 1 : 0);
    }
  }

 private:
  std::string metadata_;
  std::string entries_;
  std::string data_;
  uint64_t metadata_count_ = 0;
  uint64_t tensor_count_ = 0;
};

/// ggml's numbers of some tensor types.
inline constexpr uint32_t kGgmlF32 = 0;
inline constexpr uint32_t kGgmlF16 = 1;
inline constexpr uint32_t kGgmlQ4_0 = 2;
inline constexpr uint32_t kGgmlQ8_0 = 8;
inline constexpr uint32_t kGgmlQ6_K = 14;

/// What a model's file says of its architecture: `layers` layers, hidden size 8 in 2 heads of 4, 1 of them for keys.
inline GgufBuilder metadata_of(const std::string& architecture, uint32_t layers = 1) {
  const std::string epsilon = architecture == "phi2" ? "layer_norm_epsilon" : "layer_norm_rms_epsilon";
  GgufBuilder builder;
  builder.add("general.architecture", architecture)
      .add(architecture + ".embedding_length", uint32_t{8})
      .add(architecture + ".feed_forward_length", uint32_t{16})
      .add(architecture + ".block_count", layers)
      .add(architecture + ".attention.head_count", uint32_t{2})
      .add(architecture + ".attention.head_count_kv", uint32_t{1})
      .add(architecture + ".context_length", uint32_t{512})
      .add(architecture + ".attention." + epsilon, 1e-5f);
  return builder;
}

inline GgufBuilder llama_metadata() {
  return metadata_of("llama");
}

/// A byte-level vocabulary of a few letters.
inline void add_byte_level_vocabulary(GgufBuilder& builder) {
  builder.add("tokenizer.ggml.model", "gpt2")
      .add_array<std::string>("tokenizer.ggml.tokens", {"<s>", "</s>", "a", "b", "c", "ab", "abc", "\u0120", "\u0120a"})
      .add_array<int32_t>("tokenizer.ggml.token_type", {3, 3, 1, 1, 1, 1, 1, 1, 1})
      .add_array<std::string>("tokenizer.ggml.merges", {"a b", "ab c", "\u0120 a"});
}

}  // namespace salient::checkpoint
