#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <cwchar>

// libstdc++ makes a std::filesystem::path of a std::string by mbrtowc, which takes bytes for characters on Windows: any
// path beyond ASCII would be another one. The linker calls this in its place (--wrap): bytes are UTF-8, as they are in
// all of Salient.

namespace {

constexpr auto kInvalid = static_cast<size_t>(-1);
constexpr auto kIncomplete = static_cast<size_t>(-2);

/// Bytes of the character that begins with this one; 0: none does.
size_t length_of(uint8_t first) {
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first < 0xE0) return 2;
  if (first >= 0xE0 && first < 0xF0) return 3;
  return first >= 0xF0 && first < 0xF5 ? 4 : 0;
}

/// The code point of `length` bytes; 0 where they are not UTF-8: Unicode, chapter 3, table 3-7.
uint32_t decode(const char* bytes, size_t length) {
  constexpr uint32_t kLeast[] = {0, 0, 0x80, 0x800, 0x10000};
  uint32_t point = static_cast<uint8_t>(bytes[0]) & (length == 1 ? 0x7FU : 0xFFU >> (length + 1));
  for (size_t i = 1; i < length; ++i) {
    const auto byte = static_cast<uint8_t>(bytes[i]);
    if ((byte & 0xC0) != 0x80) return 0;
    point = point << 6 | (byte & 0x3FU);
  }
  const bool is_surrogate = point >= 0xD800 && point < 0xE000;
  return point < kLeast[length] || is_surrogate || point > 0x10FFFF ? 0 : point;
}

}  // namespace

extern "C" size_t __wrap_mbrtowc(wchar_t* wide, const char* bytes, size_t size, mbstate_t* state) {
  static thread_local mbstate_t own{};
  if (!state) state = &own;
  uint32_t second = 0;  // of a surrogate pair whose first was given out
  std::memcpy(&second, state, sizeof second);
  if (!bytes || second != 0) {
    *state = {};
    if (!bytes) return 0;
    if (wide) *wide = static_cast<wchar_t>(second);
    return 1;
  }
  if (size == 0) return kIncomplete;
  const size_t length = length_of(static_cast<uint8_t>(bytes[0]));
  if (length > size) return kIncomplete;
  const uint32_t point = length == 0 ? 0 : decode(bytes, length);
  if (point == 0 && bytes[0] != '\0') {
    errno = EILSEQ;
    return kInvalid;
  }
  if (length < 4) {
    if (wide) *wide = static_cast<wchar_t>(point);
    return point == 0 ? 0 : length;
  }
  // Its first three bytes are taken for the first of the pair, its last one for the second.
  if (wide) *wide = static_cast<wchar_t>(0xD800 + ((point - 0x10000) >> 10));
  second = 0xDC00 + ((point - 0x10000) & 0x3FF);
  std::memcpy(state, &second, sizeof second);
  return 3;
}
