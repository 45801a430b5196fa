#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "convert/onnx_exporter.h"
#include "runner/onnxruntime/onnxruntime_runner.h"
#include "tests/support/expect_error.h"
#include "tests/support/onnxruntime.h"
#include "tests/support/tiny_quantized.h"

namespace salient::runner {
namespace {

using core::ErrorKind;
using tests::expect_error;

TEST(OnnxRuntimeLibrary, ThatIsNotThereIsSaid) {
  expect_error(ErrorKind::kNotFound, {"ONNX Runtime cannot be loaded", "/no/such/libonnxruntime.so"},
               [] { ort::Library("/no/such/libonnxruntime.so"); });
  tests::TemporaryFolder folder;
  std::ofstream(folder.path() / "libonnxruntime.so") << "not a library";
  expect_error(ErrorKind::kNotFound, {"ONNX Runtime cannot be loaded", "libonnxruntime.so"},
               [&] { ort::Library(folder.path() / "libonnxruntime.so"); });
}

TEST(OnnxRuntimeLibrary, OfAnotherKindOrTooOldIsRefused) {
#ifdef _WIN32
  const std::string other = "kernel32.dll";
#else
  const std::string other = "libc.so.6";
#endif
  expect_error(ErrorKind::kUnsupported, {other + " is not ONNX Runtime", "OrtGetApiBase"},
               [&] { ort::Library{other}; });
  expect_error(ErrorKind::kUnsupported, {OLD_ONNXRUNTIME, "is ONNX Runtime 1.17.3, expected 1.24 or later"},
               [] { ort::Library(OLD_ONNXRUNTIME); });
}

class OnnxRuntimeFaults : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::string reason = tests::no_onnxruntime(); !reason.empty()) GTEST_SKIP() << reason;
    const model::Decoder source(
        std::make_shared<checkpoint::Checkpoint>(tests::open_tiny_quantized(folder_.path() / "source")));
    convert::OnnxExportOptions options;
    options.accuracy_level = 0;
    options.output = folder();
    convert::export_onnx(source, options);
    decoder_ = std::make_shared<model::Decoder>(
        std::make_shared<checkpoint::Checkpoint>(checkpoint::open_checkpoint(folder())));
  }

  std::filesystem::path folder() const { return folder_.path() / "onnx"; }
  /// Puts the first half of a file in its place; whoever has it open still sees the whole.
  void halve(const char* name) const {
    const auto whole = folder() / name;
    const auto half = folder() / "half";
    std::filesystem::copy_file(whole, half);
    std::filesystem::resize_file(half, std::filesystem::file_size(half) / 2);
    std::filesystem::rename(half, whole);
  }
  OnnxRuntimeRunner make(OnnxRuntimeRunnerOptions options = {}) {
    options.provider = find_onnxruntime_provider("ort-cpu");
    return OnnxRuntimeRunner(decoder_, pool_, options);
  }

  tests::TemporaryFolder folder_;
  core::ThreadPool pool_{1};
  std::shared_ptr<const model::Decoder> decoder_;
};

TEST_F(OnnxRuntimeFaults, AGraphThatWasCutOffIsNamed) {
  halve("model.onnx");
  expect_error(ErrorKind::kUnsupported, {"model.onnx with ort-cpu", "ONNX Runtime"}, [&] { make(); });
}

TEST_F(OnnxRuntimeFaults, WeightsThatWereCutOffAreNamed) {
#ifdef _WIN32
  GTEST_SKIP() << "Windows replaces no file that is mapped";
#endif
  halve("model.onnx.data");
  expect_error(ErrorKind::kUnsupported, {"model.onnx with ort-cpu", "out of bounds"}, [&] { make(); });
}

// The graph has tables of angles for 512 positions.
TEST_F(OnnxRuntimeFaults, ARunThatFailsLeavesTheTextAsItWas) {
  OnnxRuntimeRunner runner = make({.context = 2000});
  const auto forward = [&](Sequence& sequence, int64_t count) {
    const std::vector<int32_t> tokens(static_cast<size_t>(count), 5);
    const TokenRun run{tokens, &sequence};
    return runner.forward(std::span(&run, 1));
  };
  Sequence sequence = runner.new_sequence();
  forward(sequence, 500);
  Sequence other = runner.new_sequence();
  forward(other, 500);
  expect_error(ErrorKind::kInternal, {"ort-cpu: 100 tokens after 500", "ONNX Runtime"},
               [&] { forward(sequence, 100); });
  EXPECT_EQ(sequence.length(), 500);
  EXPECT_EQ(forward(sequence, 3), forward(other, 3));
}

}  // namespace
}  // namespace salient::runner
