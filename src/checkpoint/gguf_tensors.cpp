#include <utility>

#include "checkpoint/gguf.h"
#include "checkpoint/gguf_architecture.h"
#include "core/error.h"

namespace salient::checkpoint {

using core::ErrorKind;
using core::fail;
using nlohmann::json;

namespace {

/// GGUF's strings are any bytes; here they become part of JSON documents, whose text is UTF-8.
json with_valid_text(const json& value) {
  return json::parse(value.dump(-1, ' ', false, json::error_handler_t::replace));
}

/// ggml's name of a part: "attn_q" of "blk.0.attn_q.weight".
std::string_view part_of(std::string_view name) {
  const size_t end = name.rfind('.');
  if (end == std::string_view::npos || end == 0) return {};
  const size_t begin = name.rfind('.', end - 1);
  return begin == std::string_view::npos ? std::string_view() : name.substr(begin + 1, end - begin - 1);
}

int64_t rotary_heads_of(const Checkpoint& checkpoint, const std::string& name, const StoredTensor& stored) {
  const int64_t heads = checkpoint.config[part_of(name) == "attn_q" ? "num_attention_heads" : "num_key_value_heads"];
  const int64_t rows = stored.view.shape[0];
  if (heads < 1 || rows % heads != 0 || rows / heads % 2 != 0) {
    fail(ErrorKind::kInvalidInput, "{}: tensor {} has {} rows, which {} heads do not divide", checkpoint.path.string(),
         name, rows, heads);
  }
  return heads;
}

/// Rows [first, first + count) of a tensor.
StoredTensor rows_of(const StoredTensor& stored, int64_t first, int64_t count) {
  StoredTensor part = stored;
  const size_t row_bytes = stored.view.bytes.size() / static_cast<size_t>(stored.view.shape[0]);
  part.view.shape[0] = count;
  part.view.bytes =
      stored.view.bytes.subspan(static_cast<size_t>(first) * row_bytes, static_cast<size_t>(count) * row_bytes);
  return part;
}

/// Adds query, key and value of a tensor that holds them one after the other, where transformers has them apart.
void add_query_key_value(Checkpoint& checkpoint, const std::string& name, const std::string& translated,
                         const StoredTensor& stored) {
  const int64_t head_dim = checkpoint.config["head_dim"];
  const int64_t rows = stored.view.shape[0];
  const auto rows_for = [&](const char* field) {
    const int64_t heads = checkpoint.config[field];
    return heads < 1 || heads > rows ? 0 : heads * head_dim;
  };
  const int64_t query = rows_for("num_attention_heads");
  const int64_t key = rows_for("num_key_value_heads");
  if (query < 1 || key < 1 || rows != query + 2 * key) {
    fail(ErrorKind::kInvalidInput, "{}: tensor {} has {} rows, expected {} for queries and {} for keys and for values",
         checkpoint.path.string(), name, rows, query, key);
  }
  const auto named = [&](const char* part) {
    constexpr std::string_view kFused = "qkv_proj";
    std::string result = translated;
    return result.replace(result.find(kFused), kFused.size(), part);
  };
  checkpoint.tensors.emplace(named("q_proj"), rows_of(stored, 0, query));
  checkpoint.tensors.emplace(named("k_proj"), rows_of(stored, query, key));
  checkpoint.tensors.emplace(named("v_proj"), rows_of(stored, query + key, key));
}

}  // namespace

Checkpoint open_gguf(const std::filesystem::path& path) {
  GgufFile gguf = parse_gguf(path);
  Checkpoint checkpoint;
  checkpoint.path = path;
  checkpoint.format = "gguf";
  checkpoint.config = with_valid_text(make_config(gguf));
  checkpoint.generation_config = make_generation_config(gguf);
  checkpoint.tokenizer_json = make_tokenizer_json(gguf);
  checkpoint.tokenizer_config = with_valid_text(make_tokenizer_config(gguf));
  const GgufArchitecture& architecture = find_architecture(GgufFields(gguf));
  for (auto& [name, stored] : gguf.tensors) {
    const std::string_view part = part_of(name);
    if (architecture.rotary_rows_interleaved && (part == "attn_q" || part == "attn_k")) {
      stored.rotary_heads = rotary_heads_of(checkpoint, name, stored);
    }
    if (architecture.norms_have_one_added && name.ends_with("norm.weight")) stored.added = 1;
    const std::string translated = architecture.translate(name);
    if (part == "attn_qkv" && architecture.separate_query_key_value && translated != name) {
      add_query_key_value(checkpoint, name, translated, stored);
    } else {
      checkpoint.tensors.emplace(translated, std::move(stored));
    }
  }
  describe_gguf_linears(checkpoint);
  return checkpoint;
}

}  // namespace salient::checkpoint
