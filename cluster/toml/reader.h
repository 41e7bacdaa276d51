// Reads the values of one TOML table. Its errors name the place: "line 7: device.a100.memory: expected ..., got ...".
//
// Ownership: the table must outlive its Section.
// Threads:   thread-compatible.
#pragma once

#include <toml++/toml.h>

#include <initializer_list>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "cluster/cluster.h"
#include "cluster/toml/quantity.h"

namespace alpa::cluster {

class Section {
 public:
  Section(const toml::table& table, std::string name) : table_(table), name_(std::move(name)) {}

  const std::string& name() const { return name_; }
  int line() const { return static_cast<int>(table_.source().begin.line); }
  bool Has(absl::string_view key) const { return table_.contains(std::string_view(key.data(), key.size())); }
  const toml::node* Get(absl::string_view key) const { return table_.get(std::string_view(key.data(), key.size())); }

  // Returns OK if every key of the table is in `allowed`.
  absl::Status CheckKeys(std::initializer_list<absl::string_view> allowed) const;
  // Returns kInvalidArgument with `what`, at the line of `key`. If `key` is missing, the line is that of the table.
  absl::Status Error(absl::string_view key, absl::string_view what) const;

  // Each returns the value of `key`, or `missing` if the key is absent. Values from `low` to `high` are allowed.
  absl::StatusOr<std::string> Text(absl::string_view key, absl::string_view missing) const;
  absl::StatusOr<int64_t> Integer(absl::string_view key, int64_t low, int64_t high, int64_t missing) const;
  absl::StatusOr<double> Number(absl::string_view key, double low, double high, double missing) const;
  // Reads a number in base units, or text with a unit. If `missing` is negative, the key is required. If `positive` is
  // true, 0 is an error.
  absl::StatusOr<double> Quantity(absl::string_view key, Unit unit, bool positive, double missing) const;
  // Each returns a list, which is empty if the key is absent. Rows returns lists of `width` numbers.
  absl::StatusOr<std::vector<int64_t>> Integers(absl::string_view key, int64_t low, int64_t high) const;
  absl::StatusOr<std::vector<std::vector<double>>> Rows(absl::string_view key, size_t width) const;

 private:
  const toml::table& table_;
  const std::string name_;
};

}  // namespace alpa::cluster
