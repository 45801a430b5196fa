#pragma once

#include <cstdint>
#include <memory>
#include <salient/salient.hpp>
#include <vector>

#include "core/thread_pool.h"
#include "runner/cpu_runner.h"

namespace salient::api {

/// Activations, keys and values in fp32: nothing is rounded that the model does not store so.
inline const runner::CpuRunnerOptions kExactOptions = {.activations = runner::Activations::kFp32,
                                                       .kv_dtype = core::DType::kF32};

/// A runner that scores text. Weights stay in memory where they fit beside what else is needed, else each layer is read
/// when its turn comes: `residency` of the options is chosen here.
std::unique_ptr<runner::CpuRunner> make_scoring_runner(const ModelName& name, runner::CpuRunnerOptions options,
                                                       core::ThreadPool& pool, const Monitor& monitor);

/// `windows` x `tokens` tokens that the model writes by itself, with other seeds than calibration's.
std::vector<int32_t> write_scoring_text(runner::CpuRunner& writer, int64_t windows, int64_t tokens,
                                        const Monitor& monitor);

}  // namespace salient::api
