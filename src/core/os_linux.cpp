#include <sched.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "core/buffer.h"
#include "core/os.h"
#include "core/os_posix.h"

namespace salient::core {

namespace {

constexpr size_t kHugePage = size_t{2} << 20;

/// Whole pages, or huge ones where there is at least one.
size_t round_to_pages(size_t bytes) {
  const size_t page = bytes >= kHugePage ? kHugePage : size_t{4096};
  return (bytes + page - 1) / page * page;
}

/// The first whitespace-separated words of a small system file; empty when it cannot be read.
std::vector<std::string> words_of(const char* path) {
  std::ifstream file(path);
  std::vector<std::string> words;
  for (std::string word; file >> word;) words.push_back(word);
  return words;
}

}  // namespace

std::byte* allocate_pages(size_t bytes) {
  // Fresh pages are zeros, and belong to the memory of the CPU that writes to them first.
  const size_t rounded = round_to_pages(bytes);
  const size_t reserved = rounded >= kHugePage ? rounded + kHugePage : rounded;
  std::byte* begin = rounded < bytes || reserved < rounded ? nullptr : os::map_memory(reserved);
  if (!begin) os::fail_for_lack_of_memory(bytes);
  if (reserved == rounded) return begin;
  const size_t before = (kHugePage - reinterpret_cast<uintptr_t>(begin) % kHugePage) % kHugePage;
  if (before > 0) ::munmap(begin, before);
  if (before < kHugePage) ::munmap(begin + before + rounded, kHugePage - before);
  ::madvise(begin + before, rounded, MADV_HUGEPAGE);
  return begin + before;
}

void free_pages(std::byte* pages, size_t bytes) noexcept {
  if (pages) ::munmap(pages, round_to_pages(bytes));
}

namespace os {

const char* const kCachesBelowHome = ".cache";
const char* const kDataBelowHome = ".local/share";

int flush_descriptor(int descriptor) {
  return ::fsync(descriptor);
}

char** all_variables() {
  return environ;
}

int usable_cpus() {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  int cpus = 1;
  if (::sched_getaffinity(0, sizeof mask, &mask) == 0) cpus = std::max(1, CPU_COUNT(&mask));
  double quota = 0;
  double period = 0;
  if (const auto v2 = words_of("/sys/fs/cgroup/cpu.max"); v2.size() >= 2 && v2[0] != "max") {
    quota = std::atof(v2[0].c_str());
    period = std::atof(v2[1].c_str());
  } else if (const auto v1 = words_of("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"); !v1.empty()) {
    const auto v1_period = words_of("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
    quota = std::atof(v1[0].c_str());
    period = v1_period.empty() ? 0 : std::atof(v1_period[0].c_str());
  }
  if (quota > 0 && period > 0) cpus = std::min(cpus, std::max(1, static_cast<int>(quota / period)));
  return cpus;
}

ArmExtensions arm_extensions() {
  ArmExtensions found;
#if defined(__aarch64__)
  found.dot_product = (::getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
  found.int8_matrices = (::getauxval(AT_HWCAP2) & HWCAP2_I8MM) != 0;
#endif
  return found;
}

std::string cpu_name() {
  std::ifstream cpuinfo("/proc/cpuinfo");
  for (std::string line; std::getline(cpuinfo, line);) {
    const size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) return line.substr(colon + 2);
  }
  return "unknown CPU";
}

uint64_t available_memory() {
  uint64_t available = 0;
  std::ifstream meminfo("/proc/meminfo");
  for (std::string line; std::getline(meminfo, line);) {
    std::istringstream fields(line);
    std::string key;
    uint64_t kib = 0;
    if (fields >> key >> kib && key == "MemAvailable:") available = kib * 1024;
  }
  if (const auto limit = words_of("/sys/fs/cgroup/memory.max"); !limit.empty() && limit[0] != "max") {
    const uint64_t most = std::strtoull(limit[0].c_str(), nullptr, 10);
    const auto current = words_of("/sys/fs/cgroup/memory.current");
    const uint64_t used = current.empty() ? 0 : std::strtoull(current[0].c_str(), nullptr, 10);
    available = std::min(available, most > used ? most - used : 0);
  }
  return available;
}

bool has_desktop() {
  return !environment("DISPLAY").empty() || !environment("WAYLAND_DISPLAY").empty();
}

bool open_in_browser(const std::string& url) {
  // The shell puts the opener into the background, so that nobody has to wait for it.
  return run_silently({"sh", "-c", "command -v xdg-open && { xdg-open \"$1\" & }", "sh", url});
}

}  // namespace os
}  // namespace salient::core
