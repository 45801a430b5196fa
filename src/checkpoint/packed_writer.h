#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "checkpoint/safetensors_writer.h"
#include "core/atomic_output.h"

namespace salient::checkpoint {

/// The folders with packed int4 or int8 linears that can be written.
enum class PackedFormat { kAwq, kCompressedTensors };

/// "awq" or "compressed-tensors".
const char* name_of(PackedFormat format);

/// What config.json says of the linears of such a folder.
struct PackedSettings {
  PackedFormat format = PackedFormat::kAwq;
  int bits = 4;
  int group_size = 128;
  bool symmetric = false;  ///< every zero point is 2^(bits - 1); compressed-tensors then leaves them out
  std::vector<std::string> dense_linears;  ///< the linears of decoder layers that are not quantized
  /// Where some linears have 4 bits and others 8, which compressed-tensors alone can say: the names of both kinds.
  /// Those of 8 bits are symmetric.
  std::vector<std::string> int4_linears = {};
  std::vector<std::string> int8_linears = {};
};

/// The tensors of a linear in a folder with these settings. Throws unsupported when its format cannot hold them
/// exactly.
std::vector<OutputTensor> pack_linear(const PackedSettings& settings, const core::QuantizedTensor& weights,
                                      const std::string& prefix);

/// Writes a folder with packed linears part by part, so that the model need never be in memory and an interrupted run
/// can go on: each part is a safetensors file in `<output>.partial`, beside a record of the settings it was made with.
class PackedWriter {
 public:
  /// `settings` is everything the result depends on (method, group size, calibration, source file sizes and times).
  /// With `resume`, parts of an interrupted run with the same settings are kept, and different settings are an
  /// error naming the first difference; without, they are removed.
  /// Throws invalid_input when `output` exists or cannot be written.
  PackedWriter(const std::filesystem::path& output, const nlohmann::json& settings, bool resume);

  bool has_part(const std::string& part) const;
  uint64_t part_bytes(const std::string& part) const;
  void write_part(const std::string& part, const std::vector<OutputTensor>& tensors);
  /// `source` with the tensors of a part in the place of those whose names begin with `prefix`.
  Checkpoint read_part(const std::string& part, const Checkpoint& source, const PackedSettings& settings,
                       const std::string& prefix) const;
  /// A JSON document kept beside the parts, for what must survive an interruption (a layer's report).
  void write_note(const std::string& part, const nlohmann::json& note);
  nlohmann::json read_note(const std::string& part) const;

  /// Puts the parts together in this order, adds config.json (torch_dtype float16, quantization_config),
  /// generation_config.json, tokenizer.json, tokenizer_config.json from `source`, plus the other small files of a
  /// source folder that belong to the model (special_tokens_map.json, chat_template.jinja, LICENSE, ...), and
  /// renames the folder into place. Returns the bytes written.
  uint64_t finish(const Checkpoint& source, const PackedSettings& settings, const std::vector<std::string>& parts);
  /// Removes what was written.
  void discard() { folder_.discard(); }

 private:
  std::filesystem::path part_path(const std::string& part) const;
  core::StagedFolder folder_;
};

}  // namespace salient::checkpoint
