// What workers run: SPMD programs, the buffers between them, and one static instruction list a mesh. Made from a Plan by
// planner/lower; the only thing that crosses from coordinator to workers.
//
// Model:  Every device of a mesh has the same numbered slots (buffers). A program reads slots and writes slots. State
//         slots persist from step to step; input slots are filled from a batch before a step; aux slots are read after
//         it; temporary slots live between ALLOC (or the program that defines them) and FREE. A program result that
//         is `aliased` to a parameter is written in place of it, so the slot that the parameter came from becomes the
//         result's: the two slot numbers of that RUN must be equal.
// Order:  A list is executed in order on each device of its mesh; the step is done when every list is.
// Threads: value types.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "cluster/cluster.h"
#include "graph/graph.h"
#include "plan/sharding.h"

namespace alpa::plan {

using SlotId = StrongId<struct SlotTag>;

// One device's part of the computation of one stage: the same graph on every device of the mesh, shapes are tiles,
// collectives inside name the mesh's axes.
struct StageProgram {
  std::string name;         // "step", "microbatch", "update", ...
  MeshId mesh;
  graph::Graph graph;
  // Result index -> parameter index that it may overwrite in place; -1: none. Same shape. A parameter is named at most
  // once. The backend must honour it: the caller passes one buffer for both.
  std::vector<int32_t> alias;
};

struct Slot {
  enum class Kind : uint8_t { kState = 0, kInput = 1, kAux = 2, kTemporary = 3 };
  Kind kind = Kind::kTemporary;
  graph::Shape shape;       // of a device's tile
  // kState and kInput: the graph parameter; kAux: the graph result. -1 for temporaries.
  int32_t leaf = -1;
  // Which region of the leaf's placement lies here.
  int32_t region = 0;
};

struct RunInstruction {
  int32_t program = -1;              // in Executable::programs
  std::vector<SlotId> inputs;        // by program parameter; an invalid id stands for the loop index (s32[])
  std::vector<SlotId> outputs;       // by program result
  int32_t index = -1;                // outside of loops: what stands for the loop index; -1: nothing does
};
// Each device sends, or receives, its part of the edge's transfers. They are started here and finished before the buffer is
// touched again, but a list must make progress as if they were finished here. Several rounds of one edge stay in order.
struct SendInstruction { SlotId slot; int32_t edge = -1; };   // the slot holds the tile of `Edge::from`
struct RecvInstruction { SlotId slot; int32_t edge = -1; };   // the slot gets that of `Edge::to`; zeros beyond a short one
struct BroadcastInstruction { SlotId slot; int32_t root_position = 0; std::vector<int64_t> mesh_axes; };
struct CollectiveInstruction { std::vector<SlotId> slots; std::vector<int64_t> mesh_axes; graph::ReduceKind kind; };
struct AllocInstruction { SlotId slot; double fill = 0; };   // every element set to `fill` in the slot's dtype
struct FreeInstruction { SlotId slot; };
struct Instruction;
struct LoopInstruction { int64_t count = 0; std::vector<Instruction> body; };  // loops do not nest
struct Instruction {
  std::variant<RunInstruction, SendInstruction, RecvInstruction, BroadcastInstruction, CollectiveInstruction,
               AllocInstruction, FreeInstruction, LoopInstruction>
      action;
};

// An array on its way between two meshes, cut in one way where it comes from and in another where it goes. Who sends what to
// whom is Transfers' answer (plan/reshard.h), the same for everybody who asks.
struct Edge {
  graph::Shape shape;                // of the whole array
  MeshId from_mesh, to_mesh;         // different ones
  Sharding from, to;
};

struct MeshProgram {
  std::vector<Slot> slots;                // indexed by SlotId
  std::vector<Instruction> instructions;
};

struct Executable {
  uint64_t plan_fingerprint = 0;
  std::vector<cluster::Mesh> meshes;
  std::vector<StageProgram> programs;
  std::vector<MeshProgram> mesh_programs;  // by MeshId
  std::vector<Edge> edges;
  // Where every state leaf, batch leaf and aux leaf lies, whole. Indexed like the program's parameters and results:
  // state_or_batch[i] for graph parameter i, aux[i] for graph result i (state results have no regions there).
  std::vector<LeafPlacement> inputs;
  std::vector<bool> input_is_state;        // by graph parameter
  std::vector<LeafPlacement> outputs;
};

// OK, or kInvalidArgument naming mesh and instruction: slots are defined before use and freed once, shapes agree with
// programs, aliases use one slot, edges are used, sends and receives match and make progress without buffering, every device
// of a collective issues it in one order, state slots hold a value at the end, loops do not nest.
absl::Status Verify(const Executable& executable);

std::string Print(const Executable& executable);

}  // namespace alpa::plan
