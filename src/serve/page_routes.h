#pragma once

#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>

#include "serve/engine.h"
#include "serve/http.h"
#include "serve/page_files.h"

namespace salient::serve {

/// What the page shows of the program.
struct ProgramDescription {
  std::string version;
  std::string commit;
  std::string instruction_set;
};

/// The page's files, and what it asks about the server: /api/models and /api/about.
class PageRoutes {
 public:
  /// `files` must outlive it; without any, / says that the page was not built.
  PageRoutes(Engine& engine, ProgramDescription program, std::span<const PageFile> files = built_page_files())
      : engine_(engine), program_(std::move(program)), files_(files) {}

  /// Nothing for a path that is not ours. Throws a Refusal or an Error.
  std::optional<Answer> answer(const HttpRequest& request);

 private:
  nlohmann::json models();
  nlohmann::json describe(size_t model);
  nlohmann::json about() const;

  Engine& engine_;
  ProgramDescription program_;
  std::span<const PageFile> files_;
  std::mutex mutex_;
  std::map<size_t, nlohmann::json> descriptions_;  ///< what never changes of models, once it has been looked up
};

}  // namespace salient::serve
