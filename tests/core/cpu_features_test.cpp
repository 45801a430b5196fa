#include "core/cpu_features.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <set>
#include <sstream>
#include <string>

namespace salient::core {
namespace {

/// The flags of the first CPU as Linux lists them.
std::set<std::string> listed_flags() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("flags") && !line.starts_with("Features")) continue;
    std::istringstream words(line.substr(line.find(':') + 1));
    return {std::istream_iterator<std::string>(words), {}};
  }
  return {};
}

TEST(CpuFeatures, AreWhatTheSystemLists) {
  const std::set<std::string> flags = listed_flags();
  if (flags.empty()) GTEST_SKIP() << "/proc/cpuinfo lists no flags";
  const auto has_all = [&](std::initializer_list<const char*> names) {
    return std::all_of(names.begin(), names.end(), [&](const char* name) { return flags.contains(name); });
  };
#if defined(__x86_64__)
  const bool avx2 = has_all({"avx2", "fma", "f16c"});
  EXPECT_EQ(cpu_features().avx2_fma_f16c, avx2);
  EXPECT_EQ(cpu_features().avx_vnni, avx2 && has_all({"avx_vnni"}));
  EXPECT_EQ(cpu_features().avx512_vnni,
            avx2 && has_all({"avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512_vnni"}));
#elif defined(__aarch64__)
  const bool dotprod = has_all({"asimddp"});
  EXPECT_EQ(cpu_features().neon_dotprod, dotprod);
  EXPECT_EQ(cpu_features().neon_i8mm, dotprod && has_all({"i8mm"}));
#endif
}

}  // namespace
}  // namespace salient::core
