#include "device/driver_advice.h"

#include <gtest/gtest.h>

namespace salient::device {
namespace {

runner::VulkanAdapter adapter(const char* vendor, const char* version, bool integer_dot) {
  runner::VulkanAdapter result;
  result.vendor = vendor;
  result.api_version = version;
  result.features.integer_dot = integer_dot;
  return result;
}

TEST(DriverAdvice, NamesWhatIsTooOldAndWhereNewOnesAre) {
  EXPECT_NE(driver_advice(adapter("NVIDIA", "1.0.68", false)).find("https://www.nvidia.com/drivers"),
            std::string::npos);
  EXPECT_NE(driver_advice(adapter("NVIDIA", "1.0.68", false)).find("too old"), std::string::npos);
  const std::string older = driver_advice(adapter("AMD", "1.2.170", false));
  EXPECT_EQ(older.find("too old"), std::string::npos);
  EXPECT_NE(older.find("integer dot products"), std::string::npos);
  EXPECT_NE(older.find("amd.com"), std::string::npos);
}

TEST(DriverAdvice, IsEmptyForAGoodOne) {
  EXPECT_EQ(driver_advice(adapter("Intel", "1.3.230", true)), "");
  EXPECT_EQ(driver_advice(adapter("Intel", "1.2.170", true)), "");   // by an extension
  EXPECT_EQ(driver_advice(adapter("Intel", "1.3.230", false)), "");  // the device has none
}

}  // namespace
}  // namespace salient::device
