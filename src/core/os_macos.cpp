#include "core/os.h"

#include <crt_externs.h>
#include <fcntl.h>
#include <mach/mach.h>
#include <sys/mman.h>
#include <sys/sysctl.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <string>

#include "core/buffer.h"
#include "core/os_posix.h"

namespace salient::core {

namespace {

size_t round_to_pages(size_t bytes) {
  const auto page = static_cast<size_t>(::getpagesize());
  return (bytes + page - 1) / page * page;
}

/// A number that the system knows by a name; none where it does not know it.
std::optional<int> number_of(const char* name) {
  int value = 0;
  size_t size = sizeof value;
  if (::sysctlbyname(name, &value, &size, nullptr, 0) != 0 || size != sizeof value) return std::nullopt;
  return value;
}

}  // namespace

std::byte* allocate_pages(size_t bytes) {
  const size_t rounded = round_to_pages(bytes);
  std::byte* begin = rounded < bytes ? nullptr : os::map_memory(rounded);
  if (!begin) os::fail_for_lack_of_memory(bytes);
  return begin;
}

void free_pages(std::byte* pages, size_t bytes) noexcept {
  if (pages) ::munmap(pages, round_to_pages(bytes));
}

namespace os {

const char* const kCachesBelowHome = "Library/Caches";
const char* const kDataBelowHome = "Library/Application Support";

int flush_descriptor(int descriptor) {
  // fsync leaves the bytes to the drive, which may hold them in a cache of its own. Some file systems know no more.
  return ::fcntl(descriptor, F_FULLFSYNC) == 0 ? 0 : ::fsync(descriptor);
}

char** all_variables() {
  return *::_NSGetEnviron();
}

int usable_cpus() {
  // A step of decoding ends with its slowest thread: the efficient cores would keep the fast ones waiting.
  if (const auto fast = number_of("hw.perflevel0.logicalcpu"); fast && *fast > 0) return *fast;
  return std::max(1, number_of("hw.logicalcpu").value_or(1));
}

ArmExtensions arm_extensions() {
  ArmExtensions found;
  found.dot_product = number_of("hw.optional.arm.FEAT_DotProd") == 1;
  found.int8_matrices = number_of("hw.optional.arm.FEAT_I8MM") == 1;
  return found;
}

std::string cpu_name() {
  constexpr const char* kName = "machdep.cpu.brand_string";
  size_t size = 0;
  if (::sysctlbyname(kName, nullptr, &size, nullptr, 0) != 0 || size <= 1) return "unknown CPU";
  std::string name(size, '\0');
  if (::sysctlbyname(kName, name.data(), &size, nullptr, 0) != 0) return "unknown CPU";
  name.resize(name.find('\0'));
  return name;
}

uint64_t available_memory() {
  const mach_port_t host = ::mach_host_self();
  vm_size_t page = 0;
  vm_statistics64_data_t pages{};
  mach_msg_type_number_t count = HOST_VM_INFO64_COUNT;
  const bool known =
      ::host_page_size(host, &page) == KERN_SUCCESS &&
      ::host_statistics64(host, HOST_VM_INFO64, reinterpret_cast<host_info64_t>(&pages), &count) == KERN_SUCCESS;
  ::mach_port_deallocate(::mach_task_self(), host);
  if (!known) return 0;
  return (uint64_t{pages.free_count} + pages.inactive_count) * page;
}

bool has_desktop() {
  return environment("SSH_CONNECTION").empty();
}

bool open_in_browser(const std::string& url) {
  return run_silently({"open", url});
}

}  // namespace os
}  // namespace salient::core
