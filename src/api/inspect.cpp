#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "api/json_text.h"
#include "api/locate.h"
#include "api/run_options.h"

namespace salient {

namespace {

using nlohmann::json;

/// How a stored tensor is run: what the runner holds in memory for it, and the bits of a number there.
struct RunsAs {
  std::string name;
  int bits;
};

RunsAs run_as(const checkpoint::Checkpoint& checkpoint, const model::DecoderSpec& spec, const std::string& name,
              const checkpoint::StoredTensor& stored) {
  const size_t dot = std::min(name.rfind('.'), name.size());
  const std::string linear = name.substr(0, dot);
  const std::string part = name.substr(dot);
  // A table that is only looked up is read row by row; one that is the output head too is multiplied.
  const bool looked_up = linear == model::kEmbeddingsName && !spec.tied_embeddings;
  const auto found = checkpoint.quantized.find(linear);
  if (found != checkpoint.quantized.end() && !looked_up && part != ".bias") {
    const bool codes = part == ".weight" || part == ".qweight" || part == ".weight_packed";
    return {(codes ? "" : "part of ") + api::describe(found->second), found->second.bits};
  }
  const core::DType dtype = stored.view.dtype;
  if (stored.view.shape.size() == 2 && (dtype == core::DType::kF16 || dtype == core::DType::kBF16)) {
    return {dtype == core::DType::kF16 ? "fp16" : "bf16", 16};
  }
  return {"fp32", 32};
}

/// Every group size of the quantized linears.
json group_sizes(const checkpoint::Checkpoint& checkpoint) {
  std::set<int> sizes;
  for (const auto& [name, linear] : checkpoint.quantized) sizes.insert(linear.group_size);
  return sizes;
}

json describe_model(const checkpoint::Checkpoint& checkpoint, const model::DecoderSpec& spec, bool with_tensors) {
  uint64_t bytes = 0;
  std::map<std::string, uint64_t> by_dtype;
  json tensors = json::array();
  const auto add = [&](const std::string& name, const std::string& dtype, const std::vector<int64_t>& shape,
                       uint64_t size, const RunsAs& runs_as) {
    bytes += size;
    by_dtype[dtype] += size;
    if (!with_tensors) return;
    tensors.push_back({{"name", name},
                       {"stored_as", dtype},
                       {"shape", shape},
                       {"bytes", size},
                       {"runs_as", runs_as.name},
                       {"runs_at_bits", runs_as.bits}});
  };
  for (const auto& [name, stored] : checkpoint.tensors) {
    const RunsAs runs_as = run_as(checkpoint, spec, name, stored);
    add(name, std::string(core::info_of(stored.view.dtype).name), stored.view.shape, stored.view.bytes.size(), runs_as);
  }
  for (const auto& [name, matrix] : checkpoint.matrices) {
    const core::DTypeInfo& info = core::info_of(matrix.dtype);
    const int bits = info.block_bytes * 8;
    add(name, std::string(info.name), {matrix.out_features, matrix.in_features},
        static_cast<uint64_t>(matrix.out_features * matrix.in_features * info.block_bytes),
        {matrix.dtype == core::DType::kBF16 ? "bf16" : fmt::format("fp{}", bits), bits});
  }
  for (const auto& [name, linear] : checkpoint.quantized) {
    if (linear.bytes == 0) continue;  // its parts are among the tensors
    add(name, fmt::format("int{}", linear.bits), {linear.out_features, linear.in_features}, linear.bytes,
        {api::describe(linear), linear.bits});
  }
  json result = {{"model", checkpoint.path.string()},
                 {"format", checkpoint.format},
                 {"family", spec.family},
                 {"layers", spec.layers},
                 {"hidden_size", spec.hidden_size},
                 {"intermediate_size", spec.intermediate_size},
                 {"heads", spec.heads},
                 {"kv_heads", spec.kv_heads},
                 {"head_dim", spec.head_dim},
                 {"vocab_size", spec.vocab_size},
                 {"context", spec.max_positions},
                 {"tied_embeddings", spec.tied_embeddings},
                 {"end_of_sequence", spec.end_of_sequence},
                 {"has_tokenizer", !checkpoint.tokenizer_json.empty()},
                 {"has_chat_template", checkpoint.tokenizer_config.contains("chat_template")},
                 {"bytes", bytes},
                 {"bytes_by_dtype", by_dtype}};
  if (const json sizes = group_sizes(checkpoint); !sizes.empty()) {
    result["group_size"] = sizes.size() == 1 ? sizes.front() : sizes;
  }
  if (with_tensors) result["tensors"] = std::move(tensors);
  return result;
}

}  // namespace

std::string v1::inspect_model(const ModelName& name, bool tensors, const Monitor& monitor) {
  const auto decoder = api::open_decoder(name, monitor);
  return api::to_text(describe_model(decoder->checkpoint(), decoder->spec(), tensors));
}

}  // namespace salient
