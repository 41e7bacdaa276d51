// Decides where each value of a program lies: in a parameter's buffer, a result's buffer, a constant, or the arena.
//
// Model:    units (fused groups of ops, or single ops) run in order; each reads and writes values. Values that are the
//           same bytes under another shape have one root; units name roots only. A storage holds one value at a time.
// Aliases:  a result that is aliased to parameter p must end in p's buffer. It is written there directly where nothing
//           reads p (or what replaced it) afterwards; else it is made elsewhere and copied at the end.
// Rules:    a unit's write shares a storage with a read only where the unit allows it; no storage is overwritten while
//           a later unit or the program's results still need its value.
#pragma once

#include <cstdint>
#include <vector>

#include "graph/fusion/memory_plan.h"

namespace alpa::fusion {

// How freely a write may take the place of a read.
enum class Sharing : uint8_t {
  kElementwise,  // element i of the write is made from element i of the read
  kUpdate,       // the write is the read with a part replaced: sharing saves a copy of the whole
};
struct ShareOption {
  int read = 0;  // value
  Sharing kind = Sharing::kElementwise;
};

struct StorageUnit {
  std::vector<int> reads, writes;                // roots
  std::vector<std::vector<ShareOption>> shares;  // by write; may be shorter than writes
  Bytes scratch = 0;
};

struct StorageProblem {
  std::vector<Bytes> sizes;      // by value
  std::vector<int> parameters;   // value of each parameter
  std::vector<int> results;      // root of each result
  std::vector<int32_t> alias;    // by result: parameter or -1; may be empty
  std::vector<bool> constant;    // by value: lies in the program itself
  std::vector<StorageUnit> units;
};

struct Place {
  enum class Kind : uint8_t { kNone, kParameter, kResult, kConstant, kArena };
  Kind kind = Kind::kNone;
  int index = -1;     // of the parameter, result or constant value
  Bytes offset = 0;   // kArena
  bool operator==(const Place&) const = default;
};

struct Copy {
  Place from, to;
  Bytes size = 0;
};

struct StoragePlan {
  std::vector<Place> values;          // by value; kNone for those that no unit defines
  std::vector<Place> scratch;         // by unit; kNone where it asked for none
  std::vector<Copy> final_copies;     // in this order, after the last unit
  Bytes arena = 0;
};

StoragePlan PlanStorage(const StorageProblem& problem);

}  // namespace alpa::fusion
