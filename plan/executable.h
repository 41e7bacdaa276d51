// An executable: SPMD programs, the buffers between them, and one static instruction list per mesh. The planner lowers
// a Plan to an executable. The coordinator sends it to the workers, which do not see the plan.
//
// Model:   Every device of a mesh has the same numbered slots (buffers). A program reads slots and writes slots. State
//          slots persist from step to step. Input slots are filled from a batch before a step. Aux slots are read after
//          a step. A temporary slot holds a value from its ALLOC, RECV or RUN until its FREE. If a result of a program
//          aliases a parameter, the program writes the result over the parameter. In this case, the RUN must name the
//          same slot for the result and the parameter.
// Order:   Each device executes the list of its mesh in order. A step is done when all lists are done.
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

// The part of a stage's computation that one device runs. Every device of the mesh runs the same graph. The graph's
// values have the shapes of tiles, and its collectives name axes of the mesh.
struct StageProgram {
  std::string name;         // such as "step", "microbatch" or "update"
  MeshId mesh;
  graph::Graph graph;
  // One entry per result: the parameter that the result overwrites in place, or -1. The result and the parameter have
  // the same shape. No two results name the same parameter. The backend must honour the alias, because the caller
  // passes one buffer for both.
  std::vector<int32_t> alias;
};

struct Slot {
  enum class Kind : uint8_t { kState = 0, kInput = 1, kAux = 2, kTemporary = 3 };
  Kind kind = Kind::kTemporary;
  graph::Shape shape;       // the shape of the tile of one device
  // kState and kInput: the graph parameter. kAux: the graph result. kTemporary: -1.
  int32_t leaf = -1;
  // The index of the region in the placement of the leaf.
  int32_t region = 0;
};

struct RunInstruction {
  int32_t program = -1;              // in Executable::programs
  std::vector<SlotId> inputs;        // one entry per program parameter; an invalid id stands for the loop index (s32[])
  std::vector<SlotId> outputs;       // one entry per program result
  int32_t index = -1;                // the loop index of a RUN outside of loops; -1: no loop index
};
// Each device sends or receives its part of the edge's transfers. The instruction starts the messages. The device
// finishes them before it touches the buffer again. Lists must not rely on messages in the background: they must make
// progress even if each SEND and RECV waits for its messages. Each execution of SEND or RECV on an edge is a round. The
// i-th SEND round meets the i-th RECV round.
struct SendInstruction { SlotId slot; int32_t edge = -1; };   // the slot holds the tile of `Edge::from`
struct RecvInstruction { SlotId slot; int32_t edge = -1; };   // the slot gets the tile of `Edge::to`, padded with zeros
struct BroadcastInstruction { SlotId slot; int32_t root_position = 0; std::vector<int64_t> mesh_axes; };
struct CollectiveInstruction { std::vector<SlotId> slots; std::vector<int64_t> mesh_axes; graph::ReduceKind kind; };
struct AllocInstruction { SlotId slot; double fill = 0; };   // sets every element to `fill` in the slot's dtype
struct FreeInstruction { SlotId slot; };
struct Instruction;
struct LoopInstruction { int64_t count = 0; std::vector<Instruction> body; };  // loops do not nest
struct Instruction {
  std::variant<RunInstruction, SendInstruction, RecvInstruction, BroadcastInstruction, CollectiveInstruction,
               AllocInstruction, FreeInstruction, LoopInstruction>
      action;
};

// An array that one mesh sends to another, with its sharding on both meshes. `Transfers` (plan/reshard.h) derives which
// device sends which part of the array to which device. All users of an edge call `Transfers`, so they agree.
struct Edge {
  graph::Shape shape;                // the shape of the complete array
  MeshId from_mesh, to_mesh;         // two different meshes
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
  std::vector<MeshProgram> mesh_programs;  // one entry per mesh
  std::vector<Edge> edges;
  std::vector<LeafPlacement> inputs;       // one entry per graph parameter: a state leaf or a batch leaf
  std::vector<bool> input_is_state;        // one entry per graph parameter
  std::vector<LeafPlacement> outputs;      // one entry per graph result: an aux leaf; a state result has no regions
};

// Returns OK, or kInvalidArgument with a message that names the mesh and the instruction. Checks these rules:
//   - Slots are defined before use and freed once. State slots hold a value at the end of the step.
//   - The shapes of slots agree with programs and placements. An aliased result and its parameter use one slot.
//   - Every edge is used. Sends and receives match, and make progress without buffering.
//   - The devices of a group issue their collectives in the same order.
//   - Loops do not nest.
absl::Status Verify(const Executable& executable);

// Returns human-readable text: one line per program, edge and instruction.
std::string Print(const Executable& executable);

}  // namespace alpa::plan
