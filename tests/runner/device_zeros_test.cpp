#include "runner/onnxruntime/device_zeros.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/support/onnxruntime.h"

namespace salient::runner::ort {
namespace {

/// On the CPU, where the result can be read.
TEST(DeviceZeros, FillTensorsOfAnyLength) {
  if (const std::string reason = tests::no_onnxruntime(); !reason.empty()) GTEST_SKIP() << reason;
  const Library& library = ort::library();
  SessionOptionsHandle options(library);
  library.check(library.api().create_session_options(options.out()), "test");
  Allocator* allocator = nullptr;
  library.check(library.api().get_default_allocator(&allocator), "test");
  for (const auto& [type, size] : {std::pair(ElementType::kF32, 4), std::pair(ElementType::kF16, 2)}) {
    const DeviceZeros zeros(library, options.get(), type, 4);
    for (const int64_t length : {1, 300}) {
      const int64_t shape[] = {1, 2, length, 16};
      const int64_t bytes = 2 * length * 16 * size;
      ValueHandle tensor(library);
      library.check(library.api().create_tensor(allocator, shape, 4, type, tensor.out()), "test");
      void* data = nullptr;
      library.check(library.api().get_tensor_data(tensor.get(), &data), "test");
      const std::span numbers(static_cast<unsigned char*>(data), static_cast<size_t>(bytes));
      std::ranges::fill(numbers, 0xff);  // NaN
      zeros.fill(tensor.get(), shape);
      EXPECT_EQ(std::ranges::count(numbers, 0), bytes) << "element type " << static_cast<int>(type);
    }
  }
}

}  // namespace
}  // namespace salient::runner::ort
