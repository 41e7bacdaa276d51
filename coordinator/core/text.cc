#include "coordinator/core/text.h"

#include <cstdint>

namespace alpa::coordinator {
namespace {

// Returns the size in bytes of the well-formed character at the start of `text` (Unicode 15, table 3-7), or 0 if `text`
// does not start with such a character. REQUIRES: `text` is not empty.
size_t CharacterBytes(absl::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t lead = byte(0);
  if (lead < 0x80) return 1;
  if (lead < 0xC2 || lead > 0xF4) return 0;
  const size_t size = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  if (text.size() < size) return 0;
  // The range of the second byte excludes overlong forms, surrogates and values beyond U+10FFFF.
  uint8_t low = 0x80, high = 0xBF;
  if (lead == 0xE0) low = 0xA0;
  if (lead == 0xED) high = 0x9F;
  if (lead == 0xF0) low = 0x90;
  if (lead == 0xF4) high = 0x8F;
  if (byte(1) < low || byte(1) > high) return 0;
  for (size_t i = 2; i < size; ++i) {
    if (byte(i) < 0x80 || byte(i) > 0xBF) return 0;
  }
  return size;
}

}  // namespace

std::string CleanText(absl::string_view text, size_t max_bytes) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const size_t size = CharacterBytes(text.substr(at));
    if (out.size() + (size == 0 ? 1 : size) > max_bytes) return out + "...";
    if (size == 0) {
      out += '?';
      ++at;
    } else {
      out.append(text.data() + at, size);
      at += size;
    }
  }
  return out;
}

}  // namespace alpa::coordinator
