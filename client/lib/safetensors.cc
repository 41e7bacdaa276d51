#include "client/lib/safetensors.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/str_join.h"
#include "base/status.h"

namespace alpa::client {
namespace {

using graph::DType;
using json = nlohmann::json;

constexpr std::pair<DType, const char*> kNames[] = {
    {DType::kPred, "BOOL"}, {DType::kS8, "I8"},   {DType::kS16, "I16"},   {DType::kS32, "I32"}, {DType::kS64, "I64"},
    {DType::kU8, "U8"},     {DType::kU16, "U16"}, {DType::kU32, "U32"},   {DType::kU64, "U64"}, {DType::kF16, "F16"},
    {DType::kF32, "F32"},   {DType::kF64, "F64"}, {DType::kBF16, "BF16"},
};

std::optional<DType> ParseName(const std::string& name) {
  for (const auto& [dtype, text] : kNames) {
    if (name == text) return dtype;
  }
  return std::nullopt;
}

std::optional<int64_t> NonNegative(const json& value) {
  if (value.is_number_unsigned() && value.get<uint64_t>() <= static_cast<uint64_t>(INT64_MAX)) {
    return static_cast<int64_t>(value.get<uint64_t>());
  }
  return std::nullopt;
}

absl::StatusOr<TensorEntry> ParseEntry(const std::string& name, const json& value, Bytes data_size) {
  if (!value.is_object() || value.size() != 3 || !value.contains("dtype") || !value.contains("shape") ||
      !value.contains("data_offsets")) {
    return InvalidArgument("tensor '%s' must have dtype, shape and data_offsets, and nothing else", name);
  }
  const json &dtype = value["dtype"], &shape = value["shape"], &offsets = value["data_offsets"];
  if (!dtype.is_string()) return InvalidArgument("tensor '%s': dtype is not a string", name);
  std::optional<DType> type = ParseName(dtype.get<std::string>());
  if (!type.has_value()) {
    return InvalidArgument("tensor '%s': dtype '%s' is not known", name, dtype.get<std::string>());
  }
  TensorEntry entry;
  entry.shape.dtype = *type;
  if (!shape.is_array()) return InvalidArgument("tensor '%s': shape is not a list", name);
  if (shape.size() > 64) {
    return InvalidArgument("tensor '%s' has %d dimensions; at most 64 are allowed", name, shape.size());
  }
  std::optional<int64_t> bytes = graph::SizeOf(*type);
  for (const json& size : shape) {
    std::optional<int64_t> n = NonNegative(size);
    if (!n.has_value()) return InvalidArgument("tensor '%s': an entry of shape is not a size", name);
    entry.shape.dims.push_back(*n);
    // Counts a size of 0 as 1 in this product, so that a zero does not hide an overflow.
    if (bytes.has_value()) bytes = CheckedMultiply(*bytes, std::max<int64_t>(*n, 1));
  }
  if (!bytes.has_value()) return InvalidArgument("tensor '%s' is too large: its size overflows", name);
  std::optional<int64_t> begin, end;
  if (offsets.is_array() && offsets.size() == 2) {
    begin = NonNegative(offsets[0]);
    end = NonNegative(offsets[1]);
  }
  if (!begin.has_value() || !end.has_value()) {
    return InvalidArgument("tensor '%s': data_offsets must be two byte offsets", name);
  }
  if (*begin > *end || *end > data_size) {
    return InvalidArgument("tensor '%s': data_offsets [%d, %d] do not lie in the file's %d bytes of data", name, *begin,
                           *end, data_size);
  }
  if (*end - *begin != entry.shape.bytes()) {
    return InvalidArgument("tensor '%s': %s needs %d bytes, but data_offsets span %d", name, entry.shape.ToString(),
                           entry.shape.bytes(), *end - *begin);
  }
  entry.begin = *begin;
  entry.end = *end;
  return entry;
}

// Checks that every byte of the data belongs to exactly one tensor.
absl::Status CheckCover(const std::map<std::string, TensorEntry>& tensors, Bytes data_size) {
  std::vector<std::pair<const std::string*, const TensorEntry*>> order;
  for (const auto& [name, entry] : tensors) order.emplace_back(&name, &entry);
  std::sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
    return std::pair(a.second->begin, a.second->end) < std::pair(b.second->begin, b.second->end);
  });
  Bytes at = 0;
  const std::string* before = nullptr;
  for (const auto& [name, entry] : order) {
    if (entry->begin < at) {
      return InvalidArgument("tensors '%s' and '%s' overlap at byte %d of the data", *before, *name, entry->begin);
    }
    if (entry->begin > at) return InvalidArgument("bytes %d to %d of the data belong to no tensor", at, entry->begin);
    at = entry->end;
    before = name;
  }
  if (at != data_size) return InvalidArgument("bytes %d to %d of the data belong to no tensor", at, data_size);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<SafetensorsHeader> ParseSafetensors(std::span<const uint8_t> file) {
  if (file.size() < 8) return InvalidArgument("%d bytes are too few for a safetensors file", file.size());
  uint64_t length = 0;
  for (int i = 7; i >= 0; --i) length = length << 8 | file[i];
  if (length > static_cast<uint64_t>(kMaxSafetensorsHeader)) {
    return InvalidArgument("the header claims %d bytes; at most %d are allowed", length, kMaxSafetensorsHeader);
  }
  if (length > file.size() - 8) {
    return InvalidArgument("the header claims %d bytes, but only %d follow: the file is truncated or damaged", length,
                           file.size() - 8);
  }
  const char* text = reinterpret_cast<const char*>(file.data()) + 8;
  std::set<std::string> seen;
  std::string twice;
  const auto watch = [&](int depth, json::parse_event_t event, json& parsed) {
    if (event == json::parse_event_t::key && depth == 1 && !seen.insert(parsed.get<std::string>()).second) {
      twice = parsed.get<std::string>();
    }
    return true;
  };
  const json header = json::parse(text, text + length, watch, /*allow_exceptions=*/false);
  if (!header.is_object()) return InvalidArgument("the header is not a JSON object: the file is damaged");
  if (!twice.empty()) return InvalidArgument("tensor '%s' appears twice", twice);
  SafetensorsHeader out;
  out.data_begin = static_cast<Bytes>(8 + length);
  const Bytes data_size = static_cast<Bytes>(file.size()) - out.data_begin;
  for (const auto& [name, value] : header.items()) {
    if (name == "__metadata__") continue;
    ALPA_ASSIGN_OR_RETURN(out.tensors[name], ParseEntry(name, value, data_size));
  }
  ALPA_RETURN_IF_ERROR(CheckCover(out.tensors, data_size));
  return out;
}

absl::StatusOr<std::unique_ptr<SafetensorsFile>> SafetensorsFile::Open(const std::string& path) {
  auto out = std::make_unique<SafetensorsFile>();
  ALPA_ASSIGN_OR_RETURN(out->file_, MappedFile::Open(path));
  absl::StatusOr<SafetensorsHeader> header = ParseSafetensors(out->file_->bytes());
  if (!header.ok()) return Annotate(header.status(), path);
  out->header_ = *std::move(header);
  return out;
}

std::span<const uint8_t> SafetensorsFile::bytes(const TensorEntry& entry) const {
  return file_->bytes().subspan(header_.data_begin + entry.begin, entry.end - entry.begin);
}

absl::StatusOr<std::unique_ptr<SafetensorsWriter>> SafetensorsWriter::Create(const std::string& path,
                                                                             const std::vector<std::string>& names,
                                                                             const std::vector<graph::Shape>& shapes) {
  ALPA_CHECK(names.size() == shapes.size());
  // Orders the arrays by element size, the largest first, so that each array is aligned to its element size.
  std::vector<size_t> order(names.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return graph::SizeOf(shapes[a].dtype) > graph::SizeOf(shapes[b].dtype); });
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  std::vector<Bytes> begin(names.size());
  Bytes at = 0;
  for (size_t i : order) {
    const char* dtype = nullptr;
    for (const auto& [type, text] : kNames) {
      if (type == shapes[i].dtype) dtype = text;
    }
    ALPA_CHECK(dtype != nullptr);
    begin[i] = at;
    header[names[i]] = {{"dtype", dtype}, {"shape", shapes[i].dims}, {"data_offsets", {at, at + shapes[i].bytes()}}};
    at += shapes[i].bytes();
  }
  std::string text = header.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  text.append((8 - text.size() % 8) % 8, ' ');
  auto out = std::make_unique<SafetensorsWriter>();
  const Bytes data_begin = static_cast<Bytes>(8 + text.size());
  ALPA_ASSIGN_OR_RETURN(out->file_, NewFile::Create(path, data_begin + at));
  std::span<uint8_t> file = out->file_->bytes();
  for (int i = 0; i < 8; ++i) file[i] = static_cast<uint8_t>(text.size() >> (8 * i));
  std::memcpy(file.data() + 8, text.data(), text.size());
  for (size_t i = 0; i < names.size(); ++i) {
    out->spans_.push_back(file.subspan(data_begin + begin[i], shapes[i].bytes()));
  }
  return out;
}

}  // namespace alpa::client
