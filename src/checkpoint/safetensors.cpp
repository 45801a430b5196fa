#include "checkpoint/safetensors.h"

#include <array>
#include <cstring>
#include <fstream>
#include <optional>
#include <set>
#include <sstream>
#include <string_view>
#include <utility>

#include "checkpoint/awq.h"
#include "checkpoint/compressed_tensors.h"
#include "checkpoint/gptq.h"
#include "core/error.h"

namespace salient::checkpoint {

using core::DType;
using core::ErrorKind;
using core::fail;
using nlohmann::json;
namespace fs = std::filesystem;

namespace {

std::optional<DType> dtype_named(std::string_view name) {
  constexpr std::array kPlain = {DType::kF32, DType::kF16, DType::kBF16, DType::kF64, DType::kI64,
                                 DType::kI32, DType::kI16, DType::kI8,   DType::kU64, DType::kU32,
                                 DType::kU16, DType::kU8,  DType::kBool};
  for (const DType dtype : kPlain) {
    if (core::info_of(dtype).name == name) return dtype;
  }
  return std::nullopt;
}

/// The bytes a tensor of this shape takes; nothing when a dimension is negative or the product overflows.
std::optional<uint64_t> byte_count(const std::vector<int64_t>& shape, DType dtype) {
  uint64_t bytes = static_cast<uint64_t>(core::info_of(dtype).block_bytes);
  for (const int64_t dimension : shape) {
    if (dimension < 0 || __builtin_mul_overflow(bytes, static_cast<uint64_t>(dimension), &bytes)) return std::nullopt;
  }
  return bytes;
}

/// The header's JSON and the data that follows it.
struct Parts {
  json header;
  std::span<const std::byte> data;
};

/// Parses a header. A tensor named twice is an error: of a key met twice a JSON object would keep one silently.
json parse_header(std::string_view text, const std::string& file) {
  std::set<std::string> names;
  const auto check_names = [&](int depth, json::parse_event_t event, const json& parsed) {
    if (depth == 1 && event == json::parse_event_t::key && !names.insert(parsed.get<std::string>()).second) {
      fail(ErrorKind::kInvalidInput, "{}: its header has the tensor {} twice", file, parsed.get<std::string>());
    }
    return true;
  };
  return json::parse(text.begin(), text.end(), check_names, /*allow_exceptions=*/false);
}

Parts split_file(const core::MappedFile& file) {
  const std::string name = file.path().string();
  const auto bytes = file.bytes();
  uint64_t header_size = 0;
  if (bytes.size() < sizeof header_size) {
    fail(ErrorKind::kInvalidInput, "{}: has {} bytes, too few for a safetensors file", name, bytes.size());
  }
  std::memcpy(&header_size, bytes.data(), sizeof header_size);
  const uint64_t rest = bytes.size() - sizeof header_size;
  if (header_size > rest) {
    fail(ErrorKind::kInvalidInput,
         "{}: its header claims {} bytes, but only {} follow: the file is truncated or not safetensors", name,
         header_size, rest);
  }
  const auto* text = reinterpret_cast<const char*>(bytes.data() + sizeof header_size);
  json header = parse_header({text, header_size}, name);
  if (!header.is_object()) {
    fail(ErrorKind::kInvalidInput, "{}: its header is not a JSON object: the file is corrupt or not safetensors", name);
  }
  return {std::move(header), bytes.subspan(sizeof header_size + header_size)};
}

StoredTensor read_entry(const std::string& tensor, const json& entry, std::span<const std::byte> data,
                        std::shared_ptr<const core::MappedFile> file) {
  const std::string origin = fmt::format("{}: tensor {}", file->path().string(), tensor);
  StoredTensor stored;
  stored.file = std::move(file);
  std::vector<uint64_t> offsets;
  try {
    const std::string dtype_name = entry.at("dtype").get<std::string>();
    const auto dtype = dtype_named(dtype_name);
    if (!dtype) fail(ErrorKind::kUnsupported, "{}: dtype {} is not supported", origin, dtype_name);
    stored.view.dtype = *dtype;
    stored.view.shape = entry.at("shape").get<std::vector<int64_t>>();
    offsets = entry.at("data_offsets").get<std::vector<uint64_t>>();
  } catch (const json::exception&) {
    fail(ErrorKind::kInvalidInput, "{}: its entry is {}, expected dtype, shape and data_offsets", origin, entry.dump());
  }
  if (offsets.size() != 2 || offsets[0] > offsets[1] || offsets[1] > data.size()) {
    fail(ErrorKind::kInvalidInput, "{}: its data_offsets are {}, but the file holds {} bytes of data: it is truncated",
         origin, entry["data_offsets"].dump(), data.size());
  }
  const auto expected = byte_count(stored.view.shape, stored.view.dtype);
  if (!expected || *expected != offsets[1] - offsets[0]) {
    fail(ErrorKind::kInvalidInput, "{}: {} {} does not take the {} bytes between its data_offsets", origin,
         core::info_of(stored.view.dtype).name, entry["shape"].dump(), offsets[1] - offsets[0]);
  }
  stored.view.bytes = data.subspan(offsets[0], offsets[1] - offsets[0]);
  return stored;
}

/// The shards an index names, and a check that each tensor is where the index says.
void add_shards(const fs::path& folder, const fs::path& index_path, std::map<std::string, StoredTensor>& tensors) {
  const json index = read_json_object(index_path, true);
  const json weight_map = index.value("weight_map", json());
  if (!weight_map.is_object() || weight_map.empty()) {
    fail(ErrorKind::kInvalidInput, "{}: weight_map is missing or empty", index_path.string());
  }
  std::set<std::string> shards;
  for (const auto& [tensor, shard] : weight_map.items()) {
    if (!shard.is_string() || shard.get<std::string>().empty() ||
        fs::path(shard.get<std::string>()).filename() != fs::path(shard.get<std::string>())) {
      fail(ErrorKind::kInvalidInput, "{}: weight_map puts {} in {}, expected the name of a file in the same folder",
           index_path.string(), tensor, shard.dump());
    }
    shards.insert(shard.get<std::string>());
  }
  for (const std::string& shard : shards) {
    if (!fs::exists(folder / shard)) {
      fail(ErrorKind::kNotFound, "{}: is missing; {} names it as one of {} shards", (folder / shard).string(),
           index_path.filename().string(), shards.size());
    }
    add_safetensors_file(folder / shard, tensors);
  }
  for (const auto& [tensor, shard] : weight_map.items()) {
    const auto found = tensors.find(tensor);
    if (found == tensors.end() || found->second.file->path().filename() != shard.get<std::string>()) {
      fail(ErrorKind::kInvalidInput, "{}: has no tensor {}, which {} says it holds",
           (folder / shard.get<std::string>()).string(), tensor, index_path.filename().string());
    }
  }
}

void add_weights(const fs::path& folder, std::map<std::string, StoredTensor>& tensors) {
  if (const fs::path index = folder / "model.safetensors.index.json"; fs::exists(index)) {
    return add_shards(folder, index, tensors);
  }
  if (const fs::path single = folder / "model.safetensors"; fs::exists(single)) {
    return add_safetensors_file(single, tensors);
  }
  if (fs::exists(folder / "pytorch_model.bin") || fs::exists(folder / "pytorch_model.bin.index.json")) {
    fail(ErrorKind::kUnsupported,
         "{}: has its weights in pytorch_model.bin only, which can run code when it is opened; convert it to "
         "safetensors first",
         folder.string());
  }
  fail(ErrorKind::kNotFound, "{}: has no model.safetensors and no model.safetensors.index.json", folder.string());
}

/// Which of the known formats a folder is, by its config's quantization_config.
std::string format_of(const json& config, const std::string& origin) {
  if (!config.contains("quantization_config") || config["quantization_config"].is_null()) return "safetensors";
  const json& quantization = config["quantization_config"];
  const json method = quantization.is_object() ? quantization.value("quant_method", json()) : json();
  if (method == "awq") {
    read_awq_settings(config, origin);
  } else if (method == "gptq") {
    read_gptq_settings(config, origin);
  } else if (method == "compressed-tensors") {
    check_compressed_tensors_config(config, origin);
  } else {
    fail(ErrorKind::kUnsupported,
         "{}: quantization_config.quant_method is {}, which is not supported; expected awq, gptq or compressed-tensors",
         origin, method.dump());
  }
  return method.get<std::string>();
}

/// config.json; where it does not say how linears are quantized, AutoGPTQ's quantize_config.json beside it does.
json read_config(const fs::path& folder) {
  const fs::path path = folder / "config.json";
  if (!fs::exists(path)) {
    fail(ErrorKind::kNotFound, "{}: has no config.json, so it is not a model folder", folder.string());
  }
  json config = read_json_object(path, true);
  const fs::path gptq = folder / "quantize_config.json";
  if (!config.contains("quantization_config") && fs::exists(gptq)) {
    json quantization = read_json_object(gptq, true);
    if (!quantization.contains("quant_method")) quantization["quant_method"] = "gptq";
    config["quantization_config"] = std::move(quantization);
  }
  return config;
}

}  // namespace

std::string read_text_file(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) fail(ErrorKind::kNotFound, "{}: cannot be opened", path.string());
  std::ostringstream text;
  text << file.rdbuf();
  return std::move(text).str();
}

json read_json_object(const fs::path& path, bool required) {
  if (!required && !fs::exists(path)) return json::object();
  json value = json::parse(read_text_file(path), nullptr, /*allow_exceptions=*/false);
  if (!value.is_object()) fail(ErrorKind::kInvalidInput, "{}: is not a JSON object", path.string());
  return value;
}

void add_tokenizer_files(const fs::path& folder, Checkpoint& checkpoint) {
  checkpoint.tokenizer_config = read_json_object(folder / "tokenizer_config.json", false);
  if (const fs::path path = folder / "tokenizer.json"; fs::exists(path)) {
    checkpoint.tokenizer_json = read_text_file(path);
  }
  if (const fs::path path = folder / "chat_template.jinja"; fs::exists(path)) {
    checkpoint.tokenizer_config["chat_template"] = read_text_file(path);
  }
}

void add_safetensors_file(const fs::path& path, std::map<std::string, StoredTensor>& tensors) {
  const auto file = std::make_shared<const core::MappedFile>(path);
  const Parts parts = split_file(*file);
  for (const auto& [name, entry] : parts.header.items()) {
    if (name == "__metadata__") continue;
    if (!tensors.emplace(name, read_entry(name, entry, parts.data, file)).second) {
      fail(ErrorKind::kInvalidInput, "{}: tensor {} is in another shard too", path.string(), name);
    }
  }
}

Checkpoint open_safetensors_folder(const fs::path& folder) {
  Checkpoint checkpoint;
  checkpoint.path = folder;
  checkpoint.config = read_config(folder);
  checkpoint.format = format_of(checkpoint.config, (folder / "config.json").string());
  checkpoint.generation_config = read_json_object(folder / "generation_config.json", false);
  add_tokenizer_files(folder, checkpoint);
  add_weights(folder, checkpoint.tensors);
  if (checkpoint.format == "awq") describe_awq_linears(checkpoint);
  if (checkpoint.format == "gptq") describe_gptq_linears(checkpoint);
  if (checkpoint.format == "compressed-tensors") describe_compressed_tensors_linears(checkpoint);
  return checkpoint;
}

}  // namespace salient::checkpoint
