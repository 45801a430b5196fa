// The options of a search.
#include <cmath>
#include <set>

#include "oga/result.h"

namespace salient::oga {

namespace {

/// Numbers that must be whole.
const std::set<std::string> kWhole = {"batch_size",           "chunk_size",           "max_length",
                                      "min_length",           "no_repeat_ngram_size", "num_beams",
                                      "num_return_sequences", "random_seed",          "top_k"};

std::string in_range(const char* name, int64_t value, int64_t most) {
  return std::string(name) + " is " + std::to_string(value) + ", expected 1 to " + std::to_string(most);
}

}  // namespace

Search::Search(const nlohmann::json& document, int64_t context_length)
    : numbers_{{"batch_size", 1},     {"blank_penalty", 0},
               {"chunk_size", 0},     {"diversity_penalty", 0},
               {"length_penalty", 1}, {"max_length", static_cast<double>(context_length)},
               {"min_length", 0},     {"no_repeat_ngram_size", 0},
               {"num_beams", 1},      {"num_return_sequences", 1},
               {"random_seed", -1},   {"repetition_penalty", 1},
               {"temperature", 1},    {"top_k", 50},
               {"top_p", 0}},
      switches_{{"do_sample", false}, {"early_stopping", true}, {"past_present_share_buffer", false}} {
  const nlohmann::json search = document.value("search", nlohmann::json::object());
  if (!search.is_object()) fail("search is not a JSON object");
  for (const auto& [name, value] : search.items()) {
    if (value.is_boolean()) {
      set_switch(name, value.get<bool>());
    } else if (value.is_number()) {
      // 0 stands for the whole context here, not where a program sets it.
      if (name != "max_length" || value != 0) set_number(name, value.get<double>());
    } else {
      fail("search:" + name + " is " + value.dump() + ", expected a number, true or false");
    }
  }
}

void Search::set_number(const std::string& name, double value) {
  if (switches_.contains(name)) fail(name + " - expected true or false, a number was given");
  const auto found = numbers_.find(name);
  if (found == numbers_.end()) {
    std::string known;
    for (const auto& [option, number] : numbers_) known += option + ", ";
    for (const auto& [option, on] : switches_) known += option + ", ";
    fail("there is no search option \"" + name + "\"; there are " + known.substr(0, known.size() - 2));
  }
  constexpr double kMost = 0x1p53;  // up to here every whole number is a double
  if (kWhole.contains(name) && !(value == std::floor(value) && std::abs(value) <= kMost)) {
    fail(name + " is " + std::to_string(value) + ", expected a whole number");
  }
  found->second = value;
}

void Search::set_switch(const std::string& name, bool value) {
  if (numbers_.contains(name)) fail(name + " - expected a number, true or false was given");
  const auto found = switches_.find(name);
  if (found == switches_.end()) set_number(name, 0);  // says which there are
  found->second = value;
}

double Search::number(const std::string& name) const {
  const auto found = numbers_.find(name);
  if (found == numbers_.end()) fail("there is no search number \"" + name + "\"");
  return found->second;
}

bool Search::get_switch(const std::string& name) const {
  const auto found = switches_.find(name);
  if (found == switches_.end()) fail("there is no search switch \"" + name + "\"");
  return found->second;
}

void Search::check(int64_t context_length) const {
  constexpr int64_t kMost = 32;
  if (whole("max_length") < 1) fail("max_length is " + std::to_string(whole("max_length")) + ", expected 1 or more");
  if (whole("max_length") > context_length) fail(in_range("max_length", whole("max_length"), context_length));
  for (const char* name : {"batch_size", "num_beams"}) {
    if (whole(name) < 1 || whole(name) > kMost) fail(in_range(name, whole(name), kMost));
  }
  if (whole("num_return_sequences") < 1 || whole("num_return_sequences") > whole("num_beams")) {
    fail(in_range("num_return_sequences", whole("num_return_sequences"), whole("num_beams")));
  }
  if (!(number("top_p") >= 0 && number("top_p") <= 1)) fail("top_p must be 0 to 1");
  if (whole("top_k") < 0) fail("top_k must be 0 or more");
  if (whole("num_beams") > 1 && whole("batch_size") > 1) {
    throw Error(ErrorKind::kUnsupported, "beams of more than one prompt are not supported by this library");
  }
}

BeamOptions Search::to_beams() const {
  return {.num_beams = whole("num_beams"),
          .num_return_sequences = whole("num_return_sequences"),
          .length_penalty = number("length_penalty"),
          .early_stopping = get_switch("early_stopping"),
          .count_prompt = true};
}

GenerationConfig Search::to_config(int64_t context_length, uint64_t seed, uint64_t row) const {
  GenerationConfig config;
  const bool greedy = !get_switch("do_sample") || whole("top_k") == 1 || number("temperature") == 0;
  config.temperature = greedy ? 0 : number("temperature");
  config.top_k = whole("top_k");
  config.top_p = number("top_p") > 0 ? number("top_p") : 1;
  // A penalty of 0, which a division cannot take, is none there.
  config.repetition_penalty = number("repetition_penalty") > 0 ? number("repetition_penalty") : 1;
  config.no_repeat_ngram_size = whole("no_repeat_ngram_size");
  config.min_length = whole("min_length");
  // Room for the last token, which the interface below wants after every prompt.
  config.context = std::min(context_length, whole("max_length") + 1);
  config.seed = seed;
  config.stream = row;
  return config;
}

}  // namespace salient::oga

using salient::oga::guard;
using salient::oga::require;

OGA_EXPORT OgaResult* OgaCreateGeneratorParams(const OgaModel* model, OgaGeneratorParams** out) {
  return guard([&] {
    require(out, "out");
    const OgaModel& of = require(model, "model");
    *out = new OgaGeneratorParams{{}, salient::oga::Search(of.config.document, salient::oga::context_length(of))};
  });
}
OGA_EXPORT void OgaDestroyGeneratorParams(OgaGeneratorParams* params) {
  OgaGeneratorParams::destroy(params);
}
OGA_EXPORT OgaResult* OgaGeneratorParamsSetSearchNumber(OgaGeneratorParams* params, const char* name, double value) {
  return guard([&] { require(params, "params").search.set_number(&require(name, "name"), value); });
}
OGA_EXPORT OgaResult* OgaGeneratorParamsSetSearchBool(OgaGeneratorParams* params, const char* name, bool value) {
  return guard([&] { require(params, "params").search.set_switch(&require(name, "name"), value); });
}
OGA_EXPORT OgaResult* OgaGeneratorParamsGetSearchNumber(const OgaGeneratorParams* params, const char* name,
                                                        double* out) {
  return guard([&] { require(out, "out") = require(params, "params").search.number(&require(name, "name")); });
}
OGA_EXPORT OgaResult* OgaGeneratorParamsGetSearchBool(const OgaGeneratorParams* params, const char* name, bool* out) {
  return guard([&] { require(out, "out") = require(params, "params").search.get_switch(&require(name, "name")); });
}
/// Tokens that a grammar forces are computed like others, so enable_ff_tokens changes nothing.
OGA_EXPORT OgaResult* OgaGeneratorParamsSetGuidance(OgaGeneratorParams* params, const char* type, const char* data,
                                                    bool) {
  return guard([&] {
    const std::string kind = &require(type, "type");
    if (kind != "json_schema" && kind != "regex" && kind != "lark_grammar") {
      salient::oga::fail("there is no guidance \"" + kind + "\"; there are json_schema, regex, lark_grammar");
    }
    require(params, "params").guidance = {kind == "lark_grammar" ? "lark" : kind, &require(data, "data")};
  });
}
