#include "checkpoint/safetensors_writer.h"

#include <cmath>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>

#include "checkpoint/safetensors.h"
#include "core/atomic_output.h"
#include "core/error.h"

namespace salient::checkpoint {

using nlohmann::json;

namespace {

/// A tensor that is somewhere in memory, or in a mapped file.
struct Entry {
  std::string name;
  core::DType dtype;
  const std::vector<int64_t>* shape;
  std::span<const std::byte> bytes;
};

void write_entries(const std::filesystem::path& path, std::span<const Entry> entries) {
  json header = {{"__metadata__", {{"format", "pt"}}}};
  uint64_t offset = 0;
  for (const Entry& entry : entries) {
    header[entry.name] = {{"dtype", core::info_of(entry.dtype).name},
                          {"shape", *entry.shape},
                          {"data_offsets", {offset, offset + entry.bytes.size()}}};
    offset += entry.bytes.size();
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const uint64_t size = text.size();
  core::AtomicFile file(path);
  file.write(std::as_bytes(std::span(&size, 1)));
  file.write(text);
  for (const Entry& entry : entries) file.write(entry.bytes);
  file.commit();
}

}  // namespace

OutputTensor make_f16_tensor(std::string name, std::vector<int64_t> shape, std::span<const float> values) {
  OutputTensor tensor{std::move(name), core::DType::kF16, std::move(shape), std::vector<std::byte>(values.size() * 2)};
  for (size_t i = 0; i < values.size(); ++i) {
    const uint16_t bits = core::float_to_half(values[i]);
    if (!std::isfinite(core::half_to_float(bits))) {
      core::fail(core::ErrorKind::kInvalidInput, "tensor {}: element {} is {}, which fp16 cannot hold (largest 65504)",
                 tensor.name, i, values[i]);
    }
    std::memcpy(&tensor.bytes[2 * i], &bits, sizeof bits);
  }
  return tensor;
}

void write_safetensors(const std::filesystem::path& path, std::span<const OutputTensor> tensors) {
  std::vector<Entry> entries;
  for (const OutputTensor& tensor : tensors)
    entries.push_back({tensor.name, tensor.dtype, &tensor.shape, tensor.bytes});
  write_entries(path, entries);
}

void assemble_safetensors(std::span<const std::filesystem::path> parts, const std::filesystem::path& folder,
                          uint64_t shard_bytes) {
  std::vector<std::vector<Entry>> shards(1);
  std::map<std::string, StoredTensor> stored;
  uint64_t in_shard = 0;
  uint64_t total = 0;
  for (const auto& part : parts) {
    std::map<std::string, StoredTensor> tensors;
    add_safetensors_file(part, tensors);
    for (auto& [name, tensor] : tensors) {
      const auto& kept = stored.emplace(name, std::move(tensor)).first->second;
      const uint64_t size = kept.view.bytes.size();
      if (in_shard > 0 && in_shard + size > shard_bytes) {
        shards.emplace_back();
        in_shard = 0;
      }
      shards.back().push_back({name, kept.view.dtype, &kept.view.shape, kept.view.bytes});
      in_shard += size;
      total += size;
    }
  }
  if (shards.size() == 1) return write_entries(folder / "model.safetensors", shards.front());
  json index = {{"metadata", {{"total_size", total}}}, {"weight_map", json::object()}};
  for (size_t i = 0; i < shards.size(); ++i) {
    const std::string name = fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, shards.size());
    write_entries(folder / name, shards[i]);
    for (const Entry& entry : shards[i]) index["weight_map"][entry.name] = name;
  }
  core::AtomicFile file(folder / "model.safetensors.index.json");
  file.write(index.dump(2) + "\n");
  file.commit();
}

}  // namespace salient::checkpoint
