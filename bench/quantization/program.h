#pragma once

#include <cstdio>

#include "core/error.h"

namespace salient::bench {

/// Ends a program as `salient` ends: with what `run` returns, or 1 and the sentence of an error.
template <typename Run>
int run_program(const char* name, Run&& run) {
  try {
    return run();
  } catch (const core::Error& error) {
    std::fprintf(stderr, "%s: %s\n", name, error.what());
    return 1;
  }
}

}  // namespace salient::bench
