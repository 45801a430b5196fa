#include "convert/gguf_vocabulary.h"

#include <algorithm>
#include <array>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "checkpoint/gguf.h"
#include "checkpoint/gguf_types.h"
#include "core/error.h"

namespace salient::convert {

using checkpoint::GgufTokenType;
using core::ErrorKind;
using core::fail;
using nlohmann::json;

namespace {

/// The steps of a normalizer, pre-tokenizer or post-processor, one or a sequence, `parts` being what it calls them.
std::vector<json> steps_of(const json& step, const char* parts) {
  if (!step.is_object()) return {};
  if (step.value("type", "") != "Sequence") return {step};
  std::vector<json> steps;
  for (const json& part : step.value(parts, json::array())) {
    for (json& found : steps_of(part, parts)) steps.push_back(std::move(found));
  }
  return steps;
}

class Vocabulary {
 public:
  Vocabulary(const checkpoint::Checkpoint& checkpoint, const model::DecoderSpec& spec)
      : checkpoint_(checkpoint), spec_(spec) {
    if (checkpoint_.tokenizer_json.empty()) {
      fail(ErrorKind::kInvalidInput, "{}: has no tokenizer.json, which a GGUF file holds too", origin());
    }
    tokenizer_ = json::parse(checkpoint_.tokenizer_json, nullptr, /*allow_exceptions=*/false);
    if (!tokenizer_.is_object() || !tokenizer_.contains("model") || !tokenizer_["model"].is_object()) {
      fail(ErrorKind::kInvalidInput, "{}: tokenizer.json has no \"model\"", origin());
    }
    model_ = tokenizer_["model"];
    if (model_.value("type", "BPE") != "BPE" || !model_.value("vocab", json()).is_object()) {
      fail(ErrorKind::kUnsupported, "{}: tokenizer.json has a model of type {}, expected BPE with a vocab", origin(),
           model_.value("type", json()).dump());
    }
  }

  checkpoint::GgufOutputMetadata make() {
    add_tokens();
    sentencepiece_ = model_.value("byte_fallback", false);
    if (sentencepiece_) {
      add_sentencepiece();
    } else {
      add_byte_level();
    }
    add_special_ids();
    add_post_processing();
    metadata_["tokenizer.ggml.tokens"] = tokens_;
    metadata_["tokenizer.ggml.token_type"] = types_;
    if (const json source = checkpoint_.tokenizer_config.value("chat_template", json()); source.is_string()) {
      metadata_["tokenizer.chat_template"] = source.get<std::string>();
    }
    return std::move(metadata_);
  }

 private:
  std::string origin() const { return checkpoint_.path.string(); }

  void put_token(const std::string& text, const json& id, GgufTokenType type) {
    if (!id.is_number_integer() || id < 0 || id >= std::ssize(tokens_)) {
      fail(ErrorKind::kInvalidInput, "{}: tokenizer.json gives \"{}\" the id {}, expected one below {}, the vocab_size",
           origin(), text, id.dump(), tokens_.size());
    }
    tokens_[id.get<size_t>()] = text;
    types_[id.get<size_t>()] = static_cast<int32_t>(type);
  }

  void add_tokens() {
    const auto size = static_cast<size_t>(spec_.vocab_size);
    for (size_t id = 0; id < size; ++id) tokens_.push_back(fmt::format("[PAD{}]", id));
    types_.assign(size, static_cast<int32_t>(GgufTokenType::kUnused));
    for (const auto& [text, id] : model_["vocab"].items()) put_token(text, id, GgufTokenType::kNormal);
    std::vector<int32_t> stripping;
    for (const json& token : tokenizer_.value("added_tokens", json::array())) {
      const bool special = token.value("special", false);
      put_token(token.value("content", ""), token.value("id", json()),
                special ? GgufTokenType::kControl : GgufTokenType::kUserDefined);
      if (token.value("rstrip", false)) stripping.push_back(token["id"]);
    }
    metadata_[checkpoint::kGgufStripsRight] = std::move(stripping);
  }

  void set_type(const std::string& text, GgufTokenType type) {
    const auto found = model_["vocab"].find(text);
    if (found != model_["vocab"].end()) types_[found->get<size_t>()] = static_cast<int32_t>(type);
  }

  void add_byte_level() {
    const std::string pre = checkpoint::find_pre_tokenizer_name(tokenizer_.value("pre_tokenizer", json()));
    if (pre.empty()) {
      fail(ErrorKind::kUnsupported,
           "{}: the pre_tokenizer of tokenizer.json is not one that GGUF has a name for; expected that of GPT-2, "
           "SmolLM, Llama 3, Tekken or Qwen2",
           origin());
    }
    metadata_["tokenizer.ggml.model"] = std::string("gpt2");
    metadata_["tokenizer.ggml.pre"] = pre;
    std::vector<std::string> merges;
    for (const auto& [left, right] : read_merges()) merges.push_back(left + " " + right);
    metadata_["tokenizer.ggml.merges"] = std::move(merges);
  }

  /// The merges, in either of the two ways that tokenizer.json writes them.
  std::vector<std::pair<std::string, std::string>> read_merges() const {
    std::vector<std::pair<std::string, std::string>> merges;
    for (const json& merge : model_.value("merges", json::array())) {
      if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
        merges.emplace_back(merge[0], merge[1]);
        continue;
      }
      const std::string text = merge.is_string() ? merge.get<std::string>() : "";
      const size_t space = text.find(' ');
      if (space == std::string::npos) {
        fail(ErrorKind::kInvalidInput, "{}: tokenizer.json has the merge {}, expected two pieces", origin(),
             merge.dump());
      }
      merges.emplace_back(text.substr(0, space), text.substr(space + 1));
    }
    return merges;
  }

  /// llama.cpp joins the neighbours whose piece has the highest score, tokenizer.json those of the earliest merge: a
  /// piece scores by the first merge that makes it.
  void add_sentencepiece() {
    const auto merges = read_merges();
    std::unordered_map<std::string, float> rank;
    for (size_t i = 0; i < merges.size(); ++i) {
      rank.emplace(merges[i].first + merges[i].second, -static_cast<float>(i));
    }
    std::vector<float> scores;
    for (size_t id = 0; id < tokens_.size(); ++id) {
      const auto found = rank.find(tokens_[id]);
      const bool normal = types_[id] == static_cast<int32_t>(GgufTokenType::kNormal);
      scores.push_back(found != rank.end() ? found->second : normal ? -static_cast<float>(merges.size()) : 0.0f);
    }
    for (int byte = 0; byte < 256; ++byte) set_type(fmt::format("<0x{:02X}>", byte), GgufTokenType::kByte);
    metadata_["tokenizer.ggml.model"] = std::string("llama");
    metadata_["tokenizer.ggml.pre"] = std::string("default");
    metadata_["tokenizer.ggml.scores"] = std::move(scores);
    bool space_before = false;
    for (const json& step : steps_of(tokenizer_.value("normalizer", json()), "normalizers")) {
      space_before |= step.value("type", "") == "Prepend";
    }
    for (const json& step : steps_of(tokenizer_.value("pre_tokenizer", json()), "pretokenizers")) {
      space_before |= step.value("type", "") == "Metaspace" && step.value("prepend_scheme", "always") != "never";
    }
    metadata_["tokenizer.ggml.add_space_prefix"] = space_before;
  }

  std::optional<uint32_t> id_of(const json& text) const {
    const json content = text.is_object() ? text.value("content", json()) : text;
    if (!content.is_string()) return std::nullopt;
    const auto found = std::find(tokens_.begin(), tokens_.end(), content.get<std::string>());
    if (found == tokens_.end()) return std::nullopt;
    return static_cast<uint32_t>(found - tokens_.begin());
  }

  void add_special_ids() {
    const json& config = checkpoint_.tokenizer_config;
    const auto add = [&](const char* name, const json& text) {
      const auto id = id_of(text);
      if (id) metadata_[fmt::format("tokenizer.ggml.{}_token_id", name)] = *id;
      return id;
    };
    const auto stated = [&](const char* name) { return config.value(name, json()); };
    if (!add("bos", stated("bos_token"))) add_configured("bos", "bos_token_id");
    if (!add("padding", stated("pad_token"))) add_configured("padding", "pad_token_id");
    const json unknown = stated("unk_token").is_null() ? model_.value("unk_token", json()) : stated("unk_token");
    if (const auto id = add("unknown", unknown); id && sentencepiece_) {
      types_[*id] = static_cast<int32_t>(GgufTokenType::kUnknown);
    }
    // What ends a text, what ends a turn, what ends a message: a file has room for three.
    constexpr std::array<const char*, 3> kEnds = {"eos", "eot", "eom"};
    const std::vector<int32_t>& ends = spec_.end_of_sequence;
    if (ends.size() > kEnds.size()) {
      fail(ErrorKind::kUnsupported, "{}: {} tokens end a reply, GGUF has room for {}", origin(), ends.size(),
           kEnds.size());
    }
    for (size_t i = 0; i < ends.size(); ++i) {
      metadata_[fmt::format("tokenizer.ggml.{}_token_id", kEnds[i])] = static_cast<uint32_t>(ends[i]);
    }
  }

  void add_configured(const char* name, const char* field) {
    for (const json* source : {&checkpoint_.generation_config, &checkpoint_.config}) {
      const json id = source->value(field, json());
      if (!id.is_number_integer() || id < 0 || id >= tokens_.size()) continue;
      metadata_[fmt::format("tokenizer.ggml.{}_token_id", name)] = id.get<uint32_t>();
      return;
    }
  }

  /// Which special tokens the tokenizer puts before and behind a text.
  void add_post_processing() {
    constexpr const char* kBos = "tokenizer.ggml.bos_token_id";
    bool before = false;
    bool behind = false;
    for (const json& step : steps_of(tokenizer_.value("post_processor", json()), "processors")) {
      if (step.value("type", "") != "TemplateProcessing") continue;
      bool seen_text = false;
      for (const json& part : step.value("single", json::array())) {
        const bool special = part.contains("SpecialToken");
        if (special && !seen_text && !metadata_.contains(kBos)) {
          if (const auto id = id_of(part["SpecialToken"].value("id", json()))) metadata_[kBos] = *id;
        }
        before |= special && !seen_text;
        behind |= special && seen_text;
        seen_text |= !special;
      }
    }
    metadata_["tokenizer.ggml.add_bos_token"] = before;
    metadata_["tokenizer.ggml.add_eos_token"] = behind;
  }

  const checkpoint::Checkpoint& checkpoint_;
  const model::DecoderSpec& spec_;
  json tokenizer_;
  json model_;
  bool sentencepiece_ = false;
  std::vector<std::string> tokens_;
  std::vector<int32_t> types_;
  checkpoint::GgufOutputMetadata metadata_;
};

}  // namespace

checkpoint::GgufOutputMetadata describe_vocabulary(const checkpoint::Checkpoint& checkpoint,
                                                   const model::DecoderSpec& spec) {
  return Vocabulary(checkpoint, spec).make();
}

}  // namespace salient::convert
