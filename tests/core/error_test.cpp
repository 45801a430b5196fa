#include "core/error.h"

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"

namespace salient::core {
namespace {

TEST(Error, KindsHaveTheirNames) {
  EXPECT_STREQ(name_of(ErrorKind::kInvalidInput), "invalid_input");
  EXPECT_STREQ(name_of(ErrorKind::kNotFound), "not_found");
  EXPECT_STREQ(name_of(ErrorKind::kUnsupported), "unsupported");
  EXPECT_STREQ(name_of(ErrorKind::kOutOfMemory), "out_of_memory");
  EXPECT_STREQ(name_of(ErrorKind::kDeviceLost), "device_lost");
  EXPECT_STREQ(name_of(ErrorKind::kCancelled), "cancelled");
  EXPECT_STREQ(name_of(ErrorKind::kNetwork), "network");
  EXPECT_STREQ(name_of(ErrorKind::kInternal), "internal");
}

TEST(Error, CarriesItsKindAndSentence) {
  tests::expect_error(ErrorKind::kNetwork, {"the host a.b answered 503"},
                      [] { fail(ErrorKind::kNetwork, "the host {} answered {}", "a.b", 503); });
}

}  // namespace
}  // namespace salient::core
