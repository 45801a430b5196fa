#pragma once

#include <nlohmann/json_fwd.hpp>
#include <salient/salient.hpp>

namespace salient::cli {

/// A model in the cache, as JSON shows it.
nlohmann::json describe(const CachedModel& model);

}  // namespace salient::cli
