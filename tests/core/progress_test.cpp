#include "core/progress.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

namespace salient::core {
namespace {

TEST(FormatBytes, PicksTheUnit) {
  EXPECT_EQ(format_bytes(0), "0 bytes");
  EXPECT_EQ(format_bytes(1023), "1023 bytes");
  EXPECT_EQ(format_bytes(1024), "1.0 KiB");
  EXPECT_EQ(format_bytes(12 * 1024 + 512), "12.5 KiB");
  EXPECT_EQ(format_bytes(uint64_t{932} << 20), "932.0 MiB");
  EXPECT_EQ(format_bytes(uint64_t{3} << 29), "1.50 GiB");
  EXPECT_EQ(format_bytes(uint64_t{5} << 40), "5120.00 GiB");
}

TEST(FormatDuration, PicksHoursOrMinutes) {
  EXPECT_EQ(format_duration(0), "0:00");
  EXPECT_EQ(format_duration(0.4), "0:00");
  EXPECT_EQ(format_duration(0.6), "0:01");
  EXPECT_EQ(format_duration(59.6), "1:00");
  EXPECT_EQ(format_duration(245), "4:05");
  EXPECT_EQ(format_duration(3599), "59:59");
  EXPECT_EQ(format_duration(3723), "1:02:03");
  EXPECT_EQ(format_duration(360000), "100:00:00");
}

/// What a printer writes to standard error.
template <typename Report>
std::string printed(bool terminal, Report&& report) {
  testing::internal::CaptureStderr();
  {
    ProgressPrinter printer(terminal);
    report(printer);
  }
  return testing::internal::GetCapturedStderr();
}

TEST(ProgressPrinter, WritesAPlainLineAtTheStartAndTheEnd) {
  const std::string text = printed(false, [](ProgressPrinter& printer) {
    for (int64_t i = 0; i <= 100; ++i) printer({"reading", i, 100, "layers", "of a.gguf"});
  });
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 2) << text;
  EXPECT_TRUE(text.starts_with("reading 0/100 layers, of a.gguf\nreading 100/100 layers")) << text;
  EXPECT_NE(text.find(" in all"), std::string::npos) << text;
  EXPECT_EQ(text.find('\r'), std::string::npos) << text;
}

TEST(ProgressPrinter, StartsALineForEachTask) {
  const std::string text = printed(false, [](ProgressPrinter& printer) {
    printer({"one", 0, 9, "windows", ""});
    printer({"two", 0, 9, "windows", ""});
  });
  EXPECT_EQ(text, "one 0/9 windows\ntwo 0/9 windows\n");
}

TEST(ProgressPrinter, RedrawsOneLineOnATerminal) {
  const std::string text = printed(true, [](ProgressPrinter& printer) {
    printer({"reading", 0, 2, "layers", ""});
    printer({"reading", 2, 2, "layers", ""});
  });
  EXPECT_TRUE(text.starts_with("\r\x1b[K[" + std::string(24, ' ') + "] reading 0/2 layers\r\x1b[K")) << text;
  EXPECT_NE(text.find("[" + std::string(24, '=') + "] reading 2/2 layers"), std::string::npos) << text;
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1) << text;
  EXPECT_EQ(text.back(), '\n');
}

TEST(ProgressPrinter, EndsALineThatIsLeftOpen) {
  const std::string text = printed(true, [](ProgressPrinter& printer) { printer({"reading", 1, 4, "layers", ""}); });
  EXPECT_EQ(text, "\r\x1b[K[" + std::string(6, '=') + std::string(18, ' ') + "] reading 1/4 layers\n");
}

}  // namespace
}  // namespace salient::core
