// What the planner decided: the answer to "how is this program run on that cluster". Immutable once verified,
// printable, and complete: loading a plan solves nothing again.
//
// Model:  the program runs as stages, each on one mesh. The micro-batch axis cuts the batch `microbatches` ways in
//         time; inside a stage, mesh axes cut arrays in space. An axis (of time or space) is described by its seeds:
//         which dimension of which input it cuts; everything else follows from the rule table (planner/strategy).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cluster/cluster.h"
#include "plan/roles.h"
#include "plan/sharding.h"

namespace alpa::plan {

inline constexpr int kPlanVersion = 1;

// "Input `leaf` (graph parameter) is cut on dimension `dim`."
struct Seed {
  int32_t leaf = -1;
  int64_t dim = 0;
  bool operator==(const Seed&) const = default;
};

// What happens where a statistic over the whole batch feeds back into each micro-batch (batch normalisation).
enum class Statistics : uint8_t {
  kExact = 0,  // the true value: with k > 1 such a program is refused
  kLocal = 1,  // each micro-batch uses its own, as GPipe does (over all devices that share it); the plan says so
};

struct StagePlan {
  MeshId mesh;
  // Mesh axis that carries data parallelism (cut along the same seeds as the micro-batch), or -1.
  int64_t data_axis = -1;
  // Sharding of each input leaf region on this stage's mesh (state leaves: where they live between steps).
  std::vector<std::optional<Sharding>> input_shardings;  // by graph parameter; nothing: not on this stage
};

struct Prediction {
  double step_seconds = 0;
  Bytes peak_device_memory = 0;
};

struct Plan {
  int version = kPlanVersion;
  uint64_t program_fingerprint = 0;
  std::vector<cluster::Mesh> meshes;
  int64_t microbatches = 1;                 // k
  std::vector<Seed> batch_seeds;            // of the micro-batch axis and of data axes; empty: nothing is cut
  Statistics statistics = Statistics::kExact;
  std::string schedule = "none";            // "none" (one stage), later "gpipe", "1f1b", ...
  std::vector<StagePlan> stages;
  Prediction predicted;
  std::string origin;                       // "pinned by the user: data parallel", for people
};

// With local statistics it matters which examples form a micro-batch: then the m-th is the m-th contiguous part of the
// batch, shared by all devices, and batches lie whole on every device. Otherwise each device's micro-batches are parts of
// its own tile.
bool MicrobatchesAreContiguous(const Plan& plan);

// A few lines for people.
std::string Print(const Plan& plan, const graph::Graph& program, const Roles& roles);

// OK, or kInvalidArgument saying which part does not fit the program or cluster. Shares no code with the planner.
absl::Status Verify(const Plan& plan, const graph::Graph& program, const Roles& roles, const cluster::Cluster& cluster);

}  // namespace alpa::plan
