#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "checkpoint/safetensors_writer.h"
#include "tests/support/temporary_folder.h"

namespace salient::checkpoint {

/// A tensor of these numbers, whatever they mean to `dtype`.
template <typename Number>
OutputTensor make_tensor(std::string name, core::DType dtype, std::vector<int64_t> shape,
                         const std::vector<Number>& numbers) {
  OutputTensor tensor{std::move(name), dtype, std::move(shape),
                      std::vector<std::byte>(numbers.size() * sizeof(Number))};
  if (!numbers.empty()) std::memcpy(tensor.bytes.data(), numbers.data(), tensor.bytes.size());
  return tensor;
}

template <typename Number>
std::vector<Number> numbers_of(const OutputTensor& tensor) {
  std::vector<Number> numbers(tensor.bytes.size() / sizeof(Number));
  if (!numbers.empty()) std::memcpy(numbers.data(), tensor.bytes.data(), tensor.bytes.size());
  return numbers;
}

/// Writes folders with a config.json that says how their linears are quantized, and tensors, and opens them.
class QuantizedFolder : public testing::Test {
 protected:
  std::filesystem::path path() const { return folder_.path() / "model"; }
  void write(const nlohmann::json& quantization, const std::vector<OutputTensor>& tensors) const {
    std::filesystem::remove_all(path());
    std::filesystem::create_directory(path());
    nlohmann::json config = {{"model_type", "llama"}, {"quantization_config", quantization}};
    tests::write_text(path() / "config.json", config.dump());
    write_safetensors(path() / "model.safetensors", tensors);
  }
  Checkpoint open(const nlohmann::json& quantization, const std::vector<OutputTensor>& tensors) const {
    write(quantization, tensors);
    return open_checkpoint(path());
  }
  /// The fp32 values of the quantized linear "p", which are the same read at once and a few rows at a time.
  static std::vector<float> values(const Checkpoint& checkpoint) {
    const StoredQuantized& stored = checkpoint.quantized.at("p");
    std::vector<float> result(stored.out_features * stored.in_features);
    stored.read().dequantize_rows(0, stored.out_features, result.data());
    constexpr int64_t kRows = 3;
    std::vector<float> part(kRows * stored.in_features);
    for (int64_t row = 0; row < stored.out_features; row += kRows) {
      const int64_t count = std::min(kRows, stored.out_features - row);
      const core::QuantizedTensor rows = stored.read_rows(row, count);
      EXPECT_EQ(rows.out_features, count);
      rows.dequantize_rows(0, count, part.data());
      EXPECT_TRUE(std::equal(part.begin(), part.begin() + count * stored.in_features,
                             result.begin() + row * stored.in_features));
    }
    return result;
  }

 private:
  tests::TemporaryFolder folder_;
};

}  // namespace salient::checkpoint
