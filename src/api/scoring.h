#pragma once

#include <cstdint>
#include <memory>
#include <salient/salient.hpp>
#include <vector>

#include "core/thread_pool.h"
#include "device/open_runner.h"

namespace salient::api {

/// A runner that scores text. On the CPU weights stay in memory where they fit beside what else is needed, else each
/// layer is read when its turn comes: `residency` of the options is chosen here.
std::unique_ptr<runner::ModelRunner> make_scoring_runner(const ModelName& name, device::RunnerOptions options,
                                                         core::ThreadPool& pool, const Monitor& monitor);

/// `windows` x `tokens` tokens that the model writes by itself, with other seeds than calibration's.
std::vector<int32_t> write_scoring_text(runner::ModelRunner& writer, int64_t windows, int64_t tokens,
                                        const Monitor& monitor);

}  // namespace salient::api
