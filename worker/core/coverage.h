// Tracks which parts of a leaf have been put on this worker. The record is exact, because it is a list of boxes.
//
// Model:   `needed` is the part of the leaf that this worker's devices hold. A put makes its region missing when it
//          begins, and covered when it completes. If a put does not complete, its region stays missing.
// Threads: thread-compatible.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "plan/box.h"

namespace alpa::worker {

using plan::Region;

class Coverage {
 public:
  Coverage() = default;
  // Starts with all of `needed` missing. The boxes may overlap, because devices can hold replicas.
  explicit Coverage(const std::vector<Region>& needed);

  // Begins a put of `region`. kUnavailable if another put is writing a part of `region`. kResourceExhausted if puts of
  // small scattered regions have cut the missing part into more than 20 000 boxes. An error changes nothing.
  absl::Status Begin(const Region& region);
  // Ends a put of `region`. REQUIRES: Begin(region) was OK, and that put has not ended.
  void End(const Region& region, bool complete);

  bool complete() const { return missing_.empty(); }
  bool Covers(const Region& region) const;
  bool writing() const { return !writing_.empty(); }
  // Returns the first missing box as text, for error messages.
  std::string Missing() const;

 private:
  std::vector<Region> needed_;   // disjoint
  std::vector<Region> missing_;  // disjoint, inside needed_
  std::vector<Region> writing_;  // puts in progress
};

}  // namespace alpa::worker
