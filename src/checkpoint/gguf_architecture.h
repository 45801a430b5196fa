#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "checkpoint/gguf.h"

namespace salient::checkpoint {

/// The metadata of a file's architecture: "attention.head_count" is "llama.attention.head_count" in a llama file. It
/// remembers which fields were asked for, so that one that changes the mathematics cannot be overlooked.
class GgufFields {
 public:
  /// Throws invalid_input when the file names no architecture.
  explicit GgufFields(const GgufFile& gguf);

  const std::string& architecture() const { return architecture_; }
  std::string origin() const { return gguf_.file->path().string(); }
  /// The key as the file has it.
  std::string key(const std::string& field) const { return architecture_ + "." + field; }

  bool has(const std::string& field) const;
  int64_t integer(const std::string& field) const;
  int64_t integer_or(const std::string& field, int64_t otherwise) const;
  /// Numbers or flags; nullptr where the field is something else or absent.
  const std::vector<int64_t>* integers(const std::string& field) const;
  std::string string_or(const std::string& field, const std::string& otherwise) const;
  /// A real number that was stored as fp32, as the shortest decimal that gives the same fp32: 1e-05, not
  /// 9.99999974737875e-06. Throws invalid_input for one that is not finite.
  nlohmann::json number(const std::string& field) const;
  nlohmann::json number_or(const std::string& field, double otherwise) const;

  /// Throws unsupported for the field's value.
  [[noreturn]] void refuse(const std::string& field, const std::string& expected) const;
  /// Throws unsupported for the first field of the architecture that was not asked for.
  void refuse_what_was_not_asked_for() const;

 private:
  const GgufFile& gguf_;
  std::string architecture_;
  mutable std::set<std::string> asked_for_;
};

/// How files of one architecture are told in Hugging Face terms.
struct GgufArchitecture {
  const char* model_type;
  const char* class_name;  ///< of transformers
  /// The q and k projections are stored as StoredTensor::rotary_heads says.
  bool rotary_rows_interleaved = false;
  /// A part of every head may turn, as partial_rotary_factor says.
  bool partial_rotary = false;
  bool norms_have_one_added = false;  ///< Gemma's, whose weights transformers adds 1 to
  bool separate_query_key_value = true;
  const char* norm_epsilon = "rms_norm_eps";  ///< config.json's name of it
  const char* activation_field = "hidden_act";
  const char* activation = "silu";
  std::map<std::string_view, std::string_view> parts = {};  ///< names of tensors that differ from the usual ones
  /// Adds what only this architecture has; `config` has the sizes already.
  void (*add_fields)(const GgufFields& fields, nlohmann::json& config) = nullptr;

  /// transformers' name of a tensor, "model.layers.0.self_attn.q_proj" for "blk.0.attn_q"; the name itself where there
  /// is no other.
  std::string translate(const std::string& name) const;
  /// The other way: "blk.0.attn_q.weight" for "model.layers.0.self_attn.q_proj.weight". Throws unsupported for a tensor
  /// that files of this architecture do not have.
  std::string translate_back(const std::string& name) const;
};

/// Throws unsupported for an architecture that is not known.
const GgufArchitecture& find_architecture(const GgufFields& fields);

/// The architecture of a model_type: its name in general.architecture and how its files are told. Throws unsupported,
/// beginning with `origin`.
std::pair<std::string, const GgufArchitecture&> architecture_of(const std::string& model_type,
                                                                const std::string& origin);

/// rope_scaling as config.json has it, or null (gguf_rope.cpp). `config` has the other fields of the rotary embedding.
/// Throws unsupported for a scaling that config.json has no words for.
nlohmann::json make_rope_scaling(const GgufFile& gguf, const GgufFields& fields, const nlohmann::json& config);

}  // namespace salient::checkpoint
