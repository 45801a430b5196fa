#pragma once

#include <cstdint>
#include <stop_token>
#include <string>

#include "core/progress.h"
#include "hub/cache.h"

namespace salient::hub {

/// A model to bring into the cache: what the hub says about it, and which of its files are needed.
struct PullPlan {
  Repository repository;
  FileSelection selection;
  uint64_t bytes = 0;          ///< of all files
  uint64_t missing_bytes = 0;  ///< of those that are not in the cache, what an interrupted download has taken off
};

/// Asks the hub for a model. Throws as `read_repository` and `select_files` do, and not_found when HF_HUB_OFFLINE is
/// set.
PullPlan plan_pull(const ModelName& name, const std::string& device, const Settings& settings, std::stop_token stop);

/// Downloads what is missing, several files at a time, checks sizes and hashes, and then gives the files their names.
/// An interrupted pull goes on where it was; other processes may pull the same. Throws network, invalid_input (other
/// content than the hub promised, a disk that is full) or cancelled; nothing wrong is left under a final name.
CachedModel pull(const PullPlan& plan, const Settings& settings, const core::ProgressCallback& progress,
                 std::stop_token stop);

}  // namespace salient::hub
