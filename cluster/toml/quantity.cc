#include "cluster/toml/quantity.h"

#include <array>
#include <cmath>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/strip.h"
#include "base/status.h"

namespace alpa::cluster {
namespace {

using Prefix = std::pair<absl::string_view, double>;

constexpr std::array<Prefix, 6> kLarge = {{{"", 1}, {"k", 1e3}, {"M", 1e6}, {"G", 1e9}, {"T", 1e12}, {"P", 1e15}}};
constexpr std::array<Prefix, 4> kBinary = {{{"Ki", 0x1p10}, {"Mi", 0x1p20}, {"Gi", 0x1p30}, {"Ti", 0x1p40}}};
constexpr std::array<Prefix, 5> kSmall = {{{"", 1}, {"m", 1e-3}, {"u", 1e-6}, {"n", 1e-9}, {"p", 1e-12}}};

// `text` is a unit with an optional prefix ("GB"). Returns the number of base units in one such unit. Returns 0 if
// `text` is not a unit of this kind.
double ScaleOf(absl::string_view text, Unit unit) {
  const auto among = [&](const auto& prefixes) -> double {
    for (const auto& [name, scale] : prefixes) {
      if (text == name) return scale;
    }
    return 0;
  };
  switch (unit) {
    case Unit::kSeconds: return absl::ConsumeSuffix(&text, "s") ? among(kSmall) : 0;
    case Unit::kFlopsPerSecond: return absl::ConsumeSuffix(&text, "FLOP/s") ? among(kLarge) : 0;
    case Unit::kBytes:
    case Unit::kBytesPerSecond: {
      if (unit == Unit::kBytesPerSecond && !absl::ConsumeSuffix(&text, "/s")) return 0;
      if (absl::ConsumeSuffix(&text, "b")) return among(kLarge) / 8;
      if (!absl::ConsumeSuffix(&text, "B")) return 0;
      const double binary = among(kBinary);
      return binary > 0 ? binary : among(kLarge);
    }
  }
  return 0;
}

}  // namespace

absl::string_view ExamplesOf(Unit unit) {
  switch (unit) {
    case Unit::kBytes: return "\"40 GB\" or \"16 GiB\"";
    case Unit::kBytesPerSecond: return "\"600 GB/s\" or \"25 Gb/s\"";
    case Unit::kFlopsPerSecond: return "\"312 TFLOP/s\" or \"50 GFLOP/s\"";
    case Unit::kSeconds: return "\"5 us\" or \"200 ns\"";
  }
  return "";
}

absl::StatusOr<double> ParseQuantity(absl::string_view text, Unit unit) {
  const absl::string_view trimmed = absl::StripAsciiWhitespace(text);
  const size_t end = trimmed.find_first_not_of("0123456789.");
  double number = 0;
  if (end != 0 && end != absl::string_view::npos && absl::SimpleAtod(trimmed.substr(0, end), &number)) {
    const double scale = ScaleOf(absl::StripLeadingAsciiWhitespace(trimmed.substr(end)), unit);
    if (scale > 0 && std::isfinite(number * scale)) return number * scale;
  }
  return InvalidArgument("\"%s\" is not an amount like %s", Excerpt(text), ExamplesOf(unit));
}

}  // namespace alpa::cluster
