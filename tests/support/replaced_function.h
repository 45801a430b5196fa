#pragma once

#include <utility>

namespace salient::tests {

/// Puts another function in the place of one that a pointer names, for as long as this lives.
template <typename Function>
class ReplacedFunction {
 public:
  ReplacedFunction(Function& pointer, Function replacement)
      : pointer_(pointer), original_(std::exchange(pointer, replacement)) {}
  ~ReplacedFunction() { pointer_ = original_; }
  ReplacedFunction(const ReplacedFunction&) = delete;
  ReplacedFunction& operator=(const ReplacedFunction&) = delete;

  Function original() const { return original_; }

 private:
  Function& pointer_;
  Function original_;
};

}  // namespace salient::tests
