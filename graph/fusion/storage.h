// Assigns each value of a program to a storage: a parameter's buffer, a result's buffer, a constant, or the arena.
//
// Model:    Units (fused groups of ops, or single ops) run in order. Each unit reads and writes values. Values with
//           the same bytes and different shapes share one root, which is one of these values. Units name only roots. A
//           storage holds one value at a time.
// Aliases:  A result that is aliased to parameter p must be in p's buffer at the end. A unit writes the result directly
//           to p's buffer if no later unit reads the old value in the buffer. Otherwise the result is stored elsewhere
//           and copied at the end.
// Rules:    A unit may write to the storage of a value that it reads only if the unit allows it (ShareOption). No
//           storage is overwritten while a later unit or the program's results still need its value.
#pragma once

#include <cstdint>
#include <vector>

#include "graph/fusion/memory_plan.h"

namespace alpa::fusion {

// The way in which a write may reuse the storage of a read.
enum class Sharing : uint8_t {
  kElementwise,  // element i of the write depends only on element i of the read
  kUpdate,       // the write equals the read, except for a replaced part; sharing saves a copy of the full array
};
struct ShareOption {
  int read = 0;  // the value whose storage the write may reuse
  Sharing kind = Sharing::kElementwise;
};

struct StorageUnit {
  std::vector<int> reads, writes;                // roots
  std::vector<std::vector<ShareOption>> shares;  // one entry per write; may be shorter than `writes`
  Bytes scratch = 0;
};

struct StorageProblem {
  std::vector<Bytes> sizes;      // one entry per value
  std::vector<int> parameters;   // the value of each parameter
  std::vector<int> results;      // the root of each result
  std::vector<int32_t> alias;    // one entry per result: the aliased parameter, or -1; may be empty
  std::vector<bool> constant;    // one entry per value: whether it is a constant of the program
  std::vector<StorageUnit> units;  // in order of execution
};

struct Place {
  enum class Kind : uint8_t { kNone, kParameter, kResult, kConstant, kArena };
  Kind kind = Kind::kNone;
  int index = -1;     // index of the parameter, result or constant value
  Bytes offset = 0;   // kArena
  bool operator==(const Place&) const = default;
};

struct Copy {
  Place from, to;
  Bytes size = 0;
};

struct StoragePlan {
  std::vector<Place> values;          // one entry per value; kNone for a value that needs no storage
  std::vector<Place> scratch;         // one entry per unit; kNone if the unit needs no scratch memory
  std::vector<Copy> final_copies;     // run in this order after the last unit
  Bytes arena = 0;
};

StoragePlan PlanStorage(const StorageProblem& problem);

}  // namespace alpa::fusion
