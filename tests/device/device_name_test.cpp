#include "device/device_name.h"

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"

namespace salient::device {
namespace {

TEST(DeviceName, IsReadAndWritten) {
  for (const char* text :
       {"cpu", "gpu", "gpu:0", "gpu:12", "auto", "ort-cpu", "webgpu", "dml", "cuda", "openvino", "coreml"}) {
    EXPECT_EQ(to_string(parse_device(text)), text);
  }
  EXPECT_STREQ(parse_device("webgpu").provider->name, "WebGpuExecutionProvider");
  EXPECT_EQ(parse_device("gpu").gpu, DeviceName::kBestGpu);
  EXPECT_EQ(parse_device("gpu:12").gpu, 12);
}

TEST(DeviceName, OfAnotherWordIsRefused) {
  for (const char* text :
       {"", "GPU", "CUDA", "cuda:0", "ort", "gpu:", "gpu:-1", "gpu:1x", "gpu:99999999999", "cpu:0"}) {
    tests::expect_error(core::ErrorKind::kInvalidInput,
                        {std::string("\"") + text + "\"", "cpu, gpu, gpu:0", "ort-cpu, webgpu"},
                        [&] { parse_device(text); });
  }
}

}  // namespace
}  // namespace salient::device
