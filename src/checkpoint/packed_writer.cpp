#include "checkpoint/packed_writer.h"

#include <fstream>

#include "checkpoint/awq.h"
#include "checkpoint/companions.h"
#include "checkpoint/compressed_tensors.h"
#include "checkpoint/safetensors.h"
#include "core/error.h"
#include "core/folder.h"

namespace salient::checkpoint {

using nlohmann::json;
namespace fs = std::filesystem;

namespace {

constexpr const char* kSettingsFile = "settings.json";
constexpr uint64_t kShardBytes = uint64_t{5} * 1000 * 1000 * 1000;

json read_json(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  json value = json::parse(file, nullptr, /*allow_exceptions=*/false);
  if (value.is_discarded()) core::fail(core::ErrorKind::kInvalidInput, "{}: is not JSON", path.string());
  return value;
}

json make_config(const Checkpoint& source, const PackedSettings& settings) {
  json config = source.config;
  config["torch_dtype"] = "float16";
  if (config.contains("dtype")) config["dtype"] = "float16";
  config["quantization_config"] = settings.format == PackedFormat::kAwq
                                      ? awq_quantization_config(settings.group_size, settings.dense_linears)
                                      : compressed_tensors_quantization_config(settings);
  return config;
}

}  // namespace

const char* name_of(PackedFormat format) {
  return format == PackedFormat::kAwq ? "awq" : "compressed-tensors";
}

std::vector<OutputTensor> pack_linear(const PackedSettings& settings, const core::QuantizedTensor& weights,
                                      const std::string& prefix) {
  return settings.format == PackedFormat::kAwq ? pack_awq_linear(weights, prefix)
                                               : pack_compressed_tensors_linear(weights, prefix, settings.symmetric);
}

PackedWriter::PackedWriter(const fs::path& output, const json& settings, bool resume) : folder_(output) {
  const fs::path settings_path = folder_.path() / kSettingsFile;
  if (resume && fs::exists(settings_path)) {
    const json old = read_json(settings_path);
    if (!old.is_object()) {
      core::fail(core::ErrorKind::kInvalidInput, "{}: is not a JSON object", settings_path.string());
    }
    for (const auto& [field, value] : settings.items()) {
      if (old.value(field, json()) == value) continue;
      core::fail(
          core::ErrorKind::kInvalidInput,
          "{}: cannot be resumed: {} was {} when it was interrupted and is {} now; run without --resume to start "
          "again",
          folder_.path().string(), field, old.value(field, json()).dump(), value.dump());
    }
    return;
  }
  folder_.discard();
  folder_ = core::StagedFolder(output);
  write_json(settings_path, settings);
}

fs::path PackedWriter::part_path(const std::string& part) const {
  return folder_.path() / ("part-" + part + ".safetensors");
}

bool PackedWriter::has_part(const std::string& part) const {
  return fs::exists(part_path(part));
}

uint64_t PackedWriter::part_bytes(const std::string& part) const {
  return fs::file_size(part_path(part));
}

void PackedWriter::write_part(const std::string& part, const std::vector<OutputTensor>& tensors) {
  write_safetensors(part_path(part), tensors);
}

Checkpoint PackedWriter::read_part(const std::string& part, const Checkpoint& source, const PackedSettings& settings,
                                   const std::string& prefix) const {
  Checkpoint written;
  written.path = part_path(part);
  written.config = make_config(source, settings);
  add_safetensors_file(written.path, written.tensors);
  settings.format == PackedFormat::kAwq ? describe_awq_linears(written) : describe_compressed_tensors_linears(written);
  Checkpoint result = source;
  const auto replace = [&](auto& entries, auto& by) {
    std::erase_if(entries, [&](const auto& entry) { return entry.first.starts_with(prefix); });
    entries.merge(by);
  };
  replace(result.tensors, written.tensors);
  replace(result.matrices, written.matrices);
  replace(result.quantized, written.quantized);
  return result;
}

void PackedWriter::write_note(const std::string& part, const json& note) {
  write_json(folder_.path() / ("note-" + part + ".json"), note);
}

json PackedWriter::read_note(const std::string& part) const {
  return read_json(folder_.path() / ("note-" + part + ".json"));
}

uint64_t PackedWriter::finish(const Checkpoint& source, const PackedSettings& settings,
                              const std::vector<std::string>& parts) {
  const fs::path& folder = folder_.path();
  std::vector<fs::path> part_paths;
  for (const std::string& part : parts) part_paths.push_back(part_path(part));
  assemble_safetensors(part_paths, folder, kShardBytes);
  write_json(folder / "config.json", make_config(source, settings));
  write_companions(source, folder);
  uint64_t bytes = 0;
  for (const fs::path& path : core::entries_of(folder)) {
    const std::string name = path.filename().string();
    if (name.starts_with("part-") || name.starts_with("note-") || name == kSettingsFile) {
      fs::remove(path);
    } else {
      bytes += fs::file_size(path);
    }
  }
  folder_.commit();
  return bytes;
}

}  // namespace salient::checkpoint
