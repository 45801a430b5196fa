#pragma once

#include <cstdint>
#include <memory>
#include <salient/salient.hpp>
#include <vector>

#include "core/thread_pool.h"
#include "model/decoder.h"

namespace salient::api {

/// The sequences of token ids that `options` ask for: cut from their text, or where they name none written by the model
/// itself. Throws invalid_input when the model's context is shorter than a sequence.
std::vector<std::vector<int32_t>> make_calibration(const QuantizeOptions& options,
                                                   const std::shared_ptr<const model::Decoder>& decoder,
                                                   core::ThreadPool& pool, const Monitor& monitor);

}  // namespace salient::api
