#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <nlohmann/json.hpp>

namespace salient::quantize {

/// What a run spends its time on.
enum class Stage {
  kCalibration,   ///< the calibration text goes through the layers
  kGram,          ///< what linears see is summed up
  kScales,        ///< scale_search.h
  kCorrection,    ///< correction.h
  kGrids,         ///< grid_search.h
  kCompensation,  ///< cholesky.h and compensation.h
  kDescent,       ///< coordinate_descent.h
  kErrors,        ///< of each candidate, to keep the best
  kOther,         ///< reading, rounding, reports, writing
};

constexpr std::array<const char*, 9> kStageNames = {"calibration",  "gram",    "scales", "correction", "grids",
                                                    "compensation", "descent", "errors", "other"};

/// A number for each stage.
using ByStage = std::array<double, kStageNames.size()>;

/// An object with the names of the stages.
inline nlohmann::json to_json(const ByStage& numbers) {
  nlohmann::json result;
  for (size_t i = 0; i < numbers.size(); ++i) result[kStageNames[i]] = numbers[i];
  return result;
}

/// Seconds by stage. A stage within another is not counted in that one.
class StageTimes {
 public:
  /// Does `work`, and returns what it returns.
  template <typename Work>
  decltype(auto) time(Stage stage, Work&& work) {
    const Within within(*this, stage);
    return work();
  }

  /// Until now.
  const ByStage& seconds() {
    charge();
    return seconds_;
  }

 private:
  using Clock = std::chrono::steady_clock;

  class Within {
   public:
    Within(StageTimes& times, Stage stage) : times_(times), outer_(times.current_) { times.enter(stage); }
    ~Within() { times_.enter(outer_); }
    Within(const Within&) = delete;
    Within& operator=(const Within&) = delete;

   private:
    StageTimes& times_;
    Stage outer_;
  };

  void charge() {
    const auto now = Clock::now();
    seconds_[static_cast<size_t>(current_)] += std::chrono::duration<double>(now - since_).count();
    since_ = now;
  }
  void enter(Stage stage) {
    charge();
    current_ = stage;
  }

  ByStage seconds_{};
  Stage current_ = Stage::kOther;
  Clock::time_point since_ = Clock::now();
};

}  // namespace salient::quantize
