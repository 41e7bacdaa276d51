// Quantities as signed 64-bit integers. The type names the unit.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace alpa {

using Bytes = int64_t;
using Flops = int64_t;

inline constexpr Bytes kKiB = 1024;
inline constexpr Bytes kMiB = 1024 * kKiB;
inline constexpr Bytes kGiB = 1024 * kMiB;

// Human-readable size: "512 B", "1.5 KiB", "20.0 MiB", "1.25 GiB".
std::string BytesText(Bytes bytes);

// Returns a * b, or nothing if the product overflows. Use it for sizes that come from outside.
inline std::optional<int64_t> CheckedMultiply(int64_t a, int64_t b) {
  int64_t product;
  if (__builtin_mul_overflow(a, b, &product)) return std::nullopt;
  return product;
}

}  // namespace alpa
