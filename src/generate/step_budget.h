#pragma once

#include <cstdint>

namespace salient::generate {

/// Decides how many prompt tokens go through the model in one step. The rule: a step spends no more time on prompts
/// than on the replies that it goes on with, so that a prompt, however long, at most doubles the time between the
/// tokens of others. Without replies a step is short enough that a reader who leaves, or a new prompt, need not wait.
/// How prompts are cut changes no text.
class StepBudget {
 public:
  explicit StepBudget(int64_t most) : most_(most) {}

  /// Prompt tokens for a step in which so many replies go on.
  int64_t prompt_tokens(int64_t replies) const;
  /// Takes in how long a step took.
  void count(int64_t prompt_tokens, int64_t replies, double seconds);

 private:
  int64_t most_;
  double prompt_token_seconds_ = 0;  ///< 0: not measured yet
  double reply_step_seconds_ = 0;    ///< a step with replies alone; 0: not measured yet
};

}  // namespace salient::generate
