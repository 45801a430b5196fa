#include "serve/page_routes.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "core/dtype.h"
#include "core/error.h"
#include "serve/answer_json.h"
#include "serve/failure.h"

namespace salient::serve {

namespace {

constexpr int kReadWordsPerSecond = 5;  // of a person who reads along

constexpr const char* kNoPage =
    "This is Salient. Its chat page is not part of this program, which was built without Node.\n"
    "OpenAI's API is at /v1, what the server does at /metrics; see docs/server.md.\n";

uint64_t stored_bytes(const checkpoint::Checkpoint& checkpoint) {
  uint64_t bytes = 0;
  for (const auto& [name, tensor] : checkpoint.tensors) bytes += tensor.view.bytes.size();
  for (const auto& [name, matrix] : checkpoint.matrices) {
    bytes += static_cast<uint64_t>(matrix.out_features * matrix.in_features * core::info_of(matrix.dtype).block_bytes);
  }
  for (const auto& [name, linear] : checkpoint.quantized) bytes += linear.bytes;
  return bytes;
}

nlohmann::json describe_decoder(const model::Decoder& decoder) {
  return {{"size_bytes", stored_bytes(decoder.checkpoint())},
          {"format", decoder.checkpoint().format},
          {"context", decoder.spec().max_positions}};
}

/// What can be said of a model that is not in memory; nulls for one that cannot be opened, which says so when it is
/// used.
nlohmann::json describe_files(const std::filesystem::path& path) {
  try {
    return describe_decoder(
        model::Decoder(std::make_shared<checkpoint::Checkpoint>(checkpoint::open_checkpoint(path))));
  } catch (const core::Error&) {
    return {{"size_bytes", nullptr}, {"format", nullptr}, {"context", nullptr}};
  }
}

HttpAnswer json_answer(const nlohmann::json& json) {
  return {200, "application/json", dump(json), {{"Cache-Control", "no-store"}}};
}

}  // namespace

nlohmann::json PageRoutes::describe(size_t model) {
  const auto loaded = engine_.loaded(model);
  const std::lock_guard lock(mutex_);
  nlohmann::json& known = descriptions_[model];
  if (known.is_null()) {
    known = loaded ? describe_decoder(*loaded->decoder) : describe_files(engine_.models()[model].path);
  }
  nlohmann::json description = known;
  description["id"] = description["name"] = engine_.models()[model].name;
  description["device"] = engine_.device(model);
  description["state"] = loaded ? "loaded" : engine_.is_loading(model) ? "loading" : "not loaded";
  if (loaded) description["context"] = loaded->scheduler.context();
  return description;
}

nlohmann::json PageRoutes::models() {
  nlohmann::json models = nlohmann::json::array();
  for (size_t i = 0; i < engine_.models().size(); ++i) models.push_back(describe(i));
  return {{"models", std::move(models)}, {"default", engine_.models().front().name}};
}

nlohmann::json PageRoutes::about() const {
  return {{"version", program_.version},
          {"commit", program_.commit},
          {"instruction_set", program_.instruction_set},
          {"read_words_per_second", kReadWordsPerSecond}};
}

std::optional<Answer> PageRoutes::answer(const HttpRequest& request) {
  const std::string path = request.path == "/" ? "/index.html" : request.path;
  const auto file = std::find_if(files_.begin(), files_.end(), [&](const PageFile& one) { return one.path == path; });
  const bool is_root_without_page = request.path == "/" && file == files_.end();
  if (file == files_.end() && !is_root_without_page && path != "/api/models" && path != "/api/about")
    return std::nullopt;
  if (request.method != "GET" && request.method != "HEAD") {
    throw Refusal(405, fmt::format("{} takes GET, not {}", request.path, request.method));
  }
  if (file != files_.end()) return answer_with(*file, request);
  if (is_root_without_page) return HttpAnswer{200, "text/plain; charset=utf-8", kNoPage, {}};
  return json_answer(path == "/api/models" ? models() : about());
}

}  // namespace salient::serve
