#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "core/error.h"
#include "kernels/kernels.h"
#include "tests/support/environment.h"

namespace salient::kernels {
namespace {

TEST(Dispatch, TheScalarSetRunsEverywhere) {
  EXPECT_EQ(find_kernels("scalar"), &kScalarKernels);
}

TEST(Dispatch, AnUnknownNameIsNoSet) {
  EXPECT_EQ(find_kernels("sse9"), nullptr);
}

/// The choice is made once a process, so each case asks in a child.
TEST(DispatchDeathTest, TheEnvironmentForcesASet) {
  EXPECT_EXIT(
      {
        tests::set_environment("SALIENT_ISA", "scalar");
        std::exit(std::string(active_kernels().name) == "scalar" ? 0 : 1);
      },
      testing::ExitedWithCode(0), "");
}

TEST(DispatchDeathTest, TheFirstSetThatRunsHereIsUsed) {
  EXPECT_EXIT(
      {
        tests::unset_environment("SALIENT_ISA");
        for (const char* name : kernel_names()) {
          if (const KernelSet* set = find_kernels(name)) std::exit(&active_kernels() == set ? 0 : 1);
        }
        std::exit(2);
      },
      testing::ExitedWithCode(0), "");
}

TEST(DispatchDeathTest, ASetThatThisCpuLacksIsRefused) {
  for (const char* name : kernel_names()) {
    if (find_kernels(name)) continue;
    EXPECT_EXIT(
        {
          tests::set_environment("SALIENT_ISA", name);
          try {
            active_kernels();
          } catch (const core::Error& error) {
            fmt::print(stderr, "{}", error.what());
            std::exit(1);
          }
        },
        testing::ExitedWithCode(1), "SALIENT_ISA=.*: this CPU does not have these instructions");
  }
}

TEST(DispatchDeathTest, AnUnknownSetIsRefusedWithTheKnownOnes) {
  EXPECT_EXIT(
      {
        tests::set_environment("SALIENT_ISA", "sse9");
        try {
          active_kernels();
        } catch (const core::Error& error) {
          fmt::print(stderr, "{}", error.what());
          std::exit(1);
        }
      },
      testing::ExitedWithCode(1), "SALIENT_ISA=sse9: unknown instruction set; this build has .*scalar");
}

}  // namespace
}  // namespace salient::kernels
