#include "hub/registry.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "hub/registry_json.h"

namespace salient::hub {

using nlohmann::json;

namespace {

TextSource read_source(const json& entry) {
  TextSource source{.server = entry.at("server"),
                    .path = entry.at("path"),
                    .kind = entry.at("kind"),
                    .member = entry.value("member", ""),
                    .column = entry.value("column", ""),
                    .rows = {}};
  if (const auto rows = entry.find("rows"); rows != entry.end()) {
    source.rows = {rows->at("before"), rows->at("after"), rows->at("empty")};
  }
  constexpr std::string_view kSplit = "{split}";
  if (const size_t split = source.path.find(kSplit); split != std::string::npos) {
    source.path.replace(split, kSplit.size(), entry.at("split").get<std::string>());
  }
  return source;
}

template <typename Known>
const Known* find_named(const std::vector<Known>& known, std::string_view name) {
  const auto found = std::find_if(known.begin(), known.end(), [&](const Known& one) { return one.name == name; });
  return found == known.end() ? nullptr : &*found;
}

}  // namespace

Registry parse_registry(std::string_view text) {
  try {
    const json document = json::parse(text);
    Registry result;
    for (const json& entry : document.at("models")) {
      result.models.push_back({entry.at("name"), entry.at("base"), entry.at("quantized")});
    }
    for (const json& entry : document.at("texts")) {
      KnownText known{entry.at("name"), entry.at("file"), entry.at("sha256"), entry.value("calibration", false), {}};
      for (const json& source : entry.at("sources")) known.sources.push_back(read_source(source));
      result.texts.push_back(std::move(known));
    }
    return result;
  } catch (const json::exception& error) {
    core::fail(core::ErrorKind::kInternal, "registry.json: {}", error.what());
  }
}

const Registry& registry() {
  static const Registry built_in = parse_registry(kRegistryJson);
  return built_in;
}

const KnownModel* find_known_model(std::string_view name) {
  return find_named(registry().models, name);
}

const KnownText* find_known_text(std::string_view name) {
  return find_named(registry().texts, name);
}

}  // namespace salient::hub
