// Which parts of a leaf have been put on this worker: exact, by boxes.
//
// Model:   `needed` is what this worker's devices hold of the leaf. A put covers its region when it ends well; from its
//          begin until then, and for good if it is broken off, the region counts as missing.
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
  // Nothing is put yet. The boxes may overlap (replicas).
  explicit Coverage(const std::vector<Region>& needed);

  // kUnavailable where another put writes a part of `region` at this time; kResourceExhausted after thousands of puts
  // of scattered small pieces.
  absl::Status Begin(const Region& region);
  // REQUIRES: Begin(region) was OK and has not ended.
  void End(const Region& region, bool complete);

  bool complete() const { return missing_.empty(); }
  bool Covers(const Region& region) const;
  bool writing() const { return !writing_.empty(); }
  // The first missing part, for messages.
  std::string Missing() const;

 private:
  std::vector<Region> needed_;   // disjoint
  std::vector<Region> missing_;  // disjoint, inside of needed_
  std::vector<Region> writing_;
};

}  // namespace alpa::worker
