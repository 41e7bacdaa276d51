#include "cluster/toml/reader.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "absl/strings/str_join.h"
#include "base/status.h"

namespace alpa::cluster {
namespace {

constexpr size_t kMaxRows = 100'000;   // maximum number of entries of a list
constexpr size_t kMaxNameBytes = 256;  // maximum number of bytes of a text value

// Returns text for a message: the value, or its kind ("a table") if it is not a scalar.
std::string Shown(const toml::node& node) {
  if (const auto* text = node.as_string()) return absl::StrCat("\"", Excerpt(text->get()), "\"");
  if (const auto* number = node.as_integer()) return absl::StrCat(number->get());
  if (const auto* number = node.as_floating_point()) return absl::StrFormat("%g", number->get());
  if (const auto* boolean = node.as_boolean()) return boolean->get() ? "true" : "false";
  if (node.is_table()) return "a table";
  return node.is_array() ? "a list" : "a date";
}

std::optional<double> AsNumber(const toml::node& node) {
  double value = 0;
  if (const auto* integer = node.as_integer()) value = static_cast<double>(integer->get());
  else if (const auto* real = node.as_floating_point()) value = real->get();
  else return std::nullopt;
  return std::isfinite(value) ? std::optional<double>(value) : std::nullopt;
}

}  // namespace

absl::Status Section::Error(absl::string_view key, absl::string_view what) const {
  const toml::node* node = Get(key);
  const int at = node != nullptr ? static_cast<int>(node->source().begin.line) : line();
  return InvalidArgument("line %d: %s%s%s: %s", at, name_, name_.empty() ? "" : ".", Excerpt(key), what);
}

absl::Status Section::CheckKeys(std::initializer_list<absl::string_view> allowed) const {
  // The table is sorted by key, so find the unknown key that comes first in the file.
  const toml::key* first = nullptr;
  for (const auto& [key, node] : table_) {
    const absl::string_view name(key.str().data(), key.str().size());
    const bool known = std::find(allowed.begin(), allowed.end(), name) != allowed.end();
    if (!known && (first == nullptr || key.source().begin.line < first->source().begin.line)) first = &key;
  }
  if (first == nullptr) return absl::OkStatus();
  return InvalidArgument("line %d: %s%s%s: unknown key; allowed keys are %s", first->source().begin.line, name_,
                         name_.empty() ? "" : ".", Excerpt(std::string(first->str())), absl::StrJoin(allowed, ", "));
}

absl::StatusOr<std::string> Section::Text(absl::string_view key, absl::string_view missing) const {
  const toml::node* node = Get(key);
  if (node == nullptr) return std::string(missing);
  const auto* text = node->as_string();
  if (text == nullptr || text->get().size() > kMaxNameBytes) {
    return Error(key, absl::StrCat("expected text of at most ", kMaxNameBytes, " bytes, got ", Shown(*node)));
  }
  return text->get();
}

absl::StatusOr<int64_t> Section::Integer(absl::string_view key, int64_t low, int64_t high, int64_t missing) const {
  const toml::node* node = Get(key);
  if (node == nullptr) return missing;
  const auto* integer = node->as_integer();
  if (integer == nullptr || integer->get() < low || integer->get() > high) {
    return Error(key, absl::StrFormat("expected a whole number from %d to %d, got %s", low, high, Shown(*node)));
  }
  return integer->get();
}

absl::StatusOr<double> Section::Number(absl::string_view key, double low, double high, double missing) const {
  const toml::node* node = Get(key);
  if (node == nullptr) return missing;
  const std::optional<double> number = AsNumber(*node);
  if (!number || *number < low || *number > high) {
    return Error(key, absl::StrFormat("expected a number from %g to %g, got %s", low, high, Shown(*node)));
  }
  return *number;
}

absl::StatusOr<double> Section::Quantity(absl::string_view key, Unit unit, bool positive, double missing) const {
  const toml::node* node = Get(key);
  if (node == nullptr) {
    if (missing < 0) return Error(key, absl::StrCat("missing; expected an amount like ", ExamplesOf(unit)));
    return missing;
  }
  std::optional<double> value = AsNumber(*node);
  if (const auto* text = node->as_string()) {
    const auto parsed = ParseQuantity(text->get(), unit);
    if (!parsed.ok()) return Error(key, parsed.status().message());
    value = *parsed;
  }
  if (!value) return Error(key, absl::StrCat("expected an amount like ", ExamplesOf(unit), ", got ", Shown(*node)));
  if (*value < 0 || *value > 1e30 || (positive && *value <= 0)) {
    return Error(key, absl::StrCat("expected ", positive ? "more than 0" : "at least 0", ", got ", Shown(*node)));
  }
  return *value;
}

absl::StatusOr<std::vector<int64_t>> Section::Integers(absl::string_view key, int64_t low, int64_t high) const {
  std::vector<int64_t> out;
  const toml::node* node = Get(key);
  if (node == nullptr) return out;
  const toml::array* array = node->as_array();
  if (array == nullptr || array->size() > kMaxRows) {
    return Error(key, absl::StrFormat("expected a list of at most %d whole numbers, got %s", kMaxRows, Shown(*node)));
  }
  for (const toml::node& element : *array) {
    const auto* integer = element.as_integer();
    if (integer == nullptr || integer->get() < low || integer->get() > high) {
      return Error(key, absl::StrFormat("expected whole numbers from %d to %d, got %s", low, high, Shown(element)));
    }
    out.push_back(integer->get());
  }
  return out;
}

absl::StatusOr<std::vector<std::vector<double>>> Section::Rows(absl::string_view key, size_t width) const {
  std::vector<std::vector<double>> out;
  const toml::node* node = Get(key);
  if (node == nullptr) return out;
  const toml::array* array = node->as_array();
  if (array == nullptr || array->size() > kMaxRows) {
    return Error(key, absl::StrFormat("expected a list of at most %d rows, got %s", kMaxRows, Shown(*node)));
  }
  for (const toml::node& element : *array) {
    const toml::array* row = element.as_array();
    std::vector<double>& numbers = out.emplace_back();
    for (size_t i = 0; row != nullptr && i < row->size() && i < width; ++i) {
      if (const auto number = AsNumber((*row)[i])) numbers.push_back(*number);
    }
    if (row == nullptr || row->size() != width || numbers.size() != width) {
      return InvalidArgument("line %d: %s.%s: row %d: expected %d numbers, got %s", element.source().begin.line, name_,
                             key, out.size(), width, Shown(element));
    }
  }
  return out;
}

}  // namespace alpa::cluster
