#include "worker/testing/executables.h"

#include "base/status.h"
#include "graph/builder.h"

namespace alpa::worker {

using graph::DType;
using graph::GraphBuilder;
using graph::Opcode;
using graph::Shape;
using graph::ValueId;
using plan::Executable;
using plan::Sharding;
using plan::Slot;
using plan::SlotId;

namespace {

plan::LeafPlacement Place(const std::string& path, const Shape& shape, Sharding sharding, int mesh = 0) {
  return {path, shape, {{{std::vector<int64_t>(shape.dims.size(), 0), shape.dims}, MeshId(mesh), std::move(sharding)}}};
}

const Shape kScalar{DType::kF32, {}};
const Shape kIndex{DType::kS32, {}};

}  // namespace

cluster::Mesh TestMesh(std::vector<int64_t> shape, int first_device) {
  cluster::Mesh mesh;
  mesh.shape = shape;
  int64_t size = 1;
  for (size_t a = 0; a < shape.size(); ++a) {
    mesh.axis_names.push_back(absl::StrCat("axis", a));
    size *= shape[a];
  }
  for (int64_t d = 0; d < size; ++d) mesh.devices.push_back(DeviceId(static_cast<int32_t>(first_device + d)));
  return mesh;
}

std::vector<Rank> TestRanks(int devices, int first_device) {
  std::vector<Rank> ranks;
  for (int d = 0; d < devices; ++d) ranks.push_back({DeviceId(first_device + d), "me", "", first_device + d});
  return ranks;
}

Executable AddExecutable(int devices) {
  const Shape w{DType::kF32, {4}}, x{DType::kF32, {4 * devices}};
  Executable out;
  out.meshes = {TestMesh({devices})};
  GraphBuilder b;
  const ValueId state = b.Parameter(w), batch = b.Parameter(w);
  const ValueId sum = b.AllReduce({batch}, {0}, graph::ReduceKind::kSum)[0];
  const ValueId next = b.Binary(Opcode::kAdd, state, sum);
  b.SetResults({next, b.Reduce(next, graph::ReduceKind::kSum, {0})});
  out.programs.push_back({"step", MeshId(0), b.Build(), {0, -1}});
  plan::MeshProgram list;
  list.slots = {{Slot::Kind::kState, w, 0, 0}, {Slot::Kind::kInput, w, 1, 0}, {Slot::Kind::kAux, kScalar, 1, 0}};
  list.instructions = {{plan::RunInstruction{0, {SlotId(0), SlotId(1)}, {SlotId(0), SlotId(2)}}}};
  out.mesh_programs = {list};
  out.inputs = {Place("state['w']", w, Sharding::Replicated()),
                Place("batch['x']", x, devices > 1 ? Sharding::Split(0, 0) : Sharding::Replicated())};
  out.input_is_state = {true, false};
  out.outputs = {{"state['w']", w, {}}, Place("aux['loss']", kScalar, Sharding::Replicated())};
  return out;
}

Executable LoopExecutable(int k) {
  const Shape w{DType::kF32, {2}}, x{DType::kF32, {k, 2}};
  Executable out;
  out.meshes = {TestMesh({1})};
  {
    GraphBuilder b;  // x, accumulator, counter, index -> accumulator, counter
    const ValueId batch = b.Parameter(x), accumulator = b.Parameter(w), counter = b.Parameter(kIndex),
                  i = b.Parameter(kIndex);
    const ValueId row = b.Reshape(b.DynamicSlice(batch, {i, b.Scalar(DType::kS32, 0)}, {1, 2}), {2});
    b.SetResults({b.Binary(Opcode::kAdd, accumulator, row), b.Binary(Opcode::kAdd, counter, i)});
    out.programs.push_back({"microbatch", MeshId(0), b.Build(), {1, 2}});
  }
  {
    GraphBuilder b;
    const ValueId state = b.Parameter(w), accumulator = b.Parameter(w);
    b.SetResults({b.Binary(Opcode::kAdd, state, accumulator)});
    out.programs.push_back({"update", MeshId(0), b.Build(), {0}});
  }
  plan::MeshProgram list;
  list.slots = {{Slot::Kind::kState, w, 0, 0}, {Slot::Kind::kInput, x, 1, 0}, {Slot::Kind::kAux, kIndex, 1, 0},
                {Slot::Kind::kTemporary, w, -1, 0}};
  plan::LoopInstruction loop;
  loop.count = k;
  loop.body = {{plan::RunInstruction{0, {SlotId(1), SlotId(3), SlotId(2), SlotId()}, {SlotId(3), SlotId(2)}}}};
  list.instructions = {{plan::AllocInstruction{SlotId(3), 0.5}},
                       {plan::AllocInstruction{SlotId(2), 0}},
                       {loop},
                       {plan::RunInstruction{1, {SlotId(0), SlotId(3)}, {SlotId(0)}}},
                       {plan::FreeInstruction{SlotId(3)}}};
  out.mesh_programs = {list};
  out.inputs = {Place("state['w']", w, Sharding::Replicated()), Place("batch['x']", x, Sharding::Replicated())};
  out.input_is_state = {true, false};
  out.outputs = {{"state['w']", w, {}}, Place("aux['total']", kIndex, Sharding::Replicated())};
  return out;
}

Executable SendExecutable() {
  const Shape w{DType::kF32, {3}};
  Executable out;
  out.meshes = {TestMesh({1}, 0), TestMesh({1}, 1)};
  {
    GraphBuilder b;
    const ValueId state = b.Parameter(w);
    b.SetResults({b.Binary(Opcode::kAdd, state, b.Full(w, 1)), b.Binary(Opcode::kAdd, state, state)});
    out.programs.push_back({"first", MeshId(0), b.Build(), {0, -1}});
  }
  {
    GraphBuilder b;
    const ValueId state = b.Parameter(w), y = b.Parameter(w);
    b.SetResults({b.Binary(Opcode::kAdd, state, y)});
    out.programs.push_back({"second", MeshId(1), b.Build(), {0}});
  }
  plan::MeshProgram first, second;
  first.slots = {{Slot::Kind::kState, w, 0, 0}, {Slot::Kind::kTemporary, w, -1, 0}};
  first.instructions = {{plan::RunInstruction{0, {SlotId(0)}, {SlotId(0), SlotId(1)}}},
                        {plan::SendInstruction{SlotId(1), 0}},
                        {plan::FreeInstruction{SlotId(1)}}};
  second.slots = {{Slot::Kind::kState, w, 1, 0}, {Slot::Kind::kAux, w, 2, 0}};
  second.instructions = {{plan::RecvInstruction{SlotId(1), 0}},
                         {plan::RunInstruction{1, {SlotId(0), SlotId(1)}, {SlotId(0)}}}};
  out.mesh_programs = {first, second};
  out.edges = {{w, MeshId(0), MeshId(1), Sharding::Replicated(), Sharding::Replicated()}};
  out.inputs = {Place("state['w']", w, Sharding::Replicated(), 0), Place("state['v']", w, Sharding::Replicated(), 1)};
  out.input_is_state = {true, true};
  out.outputs = {{"state['w']", w, {}}, {"state['v']", w, {}}, Place("aux['y']", w, Sharding::Replicated(), 1)};
  return out;
}

Executable ExchangeExecutable(const Exchange& exchange) {
  const Shape whole{DType::kF32, exchange.dims}, half{DType::kF32, {2}};
  const Shape first_tile{DType::kF32, plan::TileDims(exchange.dims, exchange.from, exchange.first)};
  const Shape second_tile{DType::kF32, plan::TileDims(exchange.dims, exchange.to, exchange.second)};
  Executable out;
  out.meshes = {exchange.first, exchange.second};
  auto plus = [](GraphBuilder& b, ValueId a, double c) { return b.Binary(Opcode::kAdd, a, b.Full(b.shape(a), c)); };
  {
    GraphBuilder b;
    const ValueId w = b.Parameter(first_tile), round = b.Parameter(kIndex);
    b.SetResults({b.Binary(Opcode::kAdd, w, b.Broadcast(b.Convert(round, DType::kF32), first_tile.dims, {}))});
    out.programs.push_back({"make", MeshId(0), b.Build(), {-1}});
  }
  {
    GraphBuilder b;
    const ValueId w = b.Parameter(first_tile), answer = b.Parameter(first_tile), s = b.Parameter(half);
    b.SetResults({b.Binary(Opcode::kSubtract, answer, w), plus(b, s, 1)});
    out.programs.push_back({"take", MeshId(0), b.Build(), {0, 2}});
  }
  {
    GraphBuilder b;
    const ValueId v = b.Parameter(second_tile), t = b.Parameter(second_tile), s = b.Parameter(half);
    const ValueId next = b.Binary(Opcode::kSubtract, t, v);
    b.SetResults({next, plus(b, next, 1), plus(b, s, 1)});
    out.programs.push_back({"use", MeshId(1), b.Build(), {0, -1, 2}});
  }
  out.edges = {{whole, MeshId(0), MeshId(1), exchange.from, exchange.to}};
  if (exchange.answers) out.edges.push_back({whole, MeshId(1), MeshId(0), exchange.to, exchange.from});

  plan::MeshProgram first, second;
  first.slots = {{Slot::Kind::kState, first_tile, 0, 0}, {Slot::Kind::kState, half, 2, 0}};
  second.slots = {{Slot::Kind::kState, second_tile, 1, 0}, {Slot::Kind::kState, half, 2, 1}};
  for (int t = 0; t < 3; ++t) {   // two slots for the sent or received array, and one for the answer
    first.slots.push_back({Slot::Kind::kTemporary, first_tile});
    second.slots.push_back({Slot::Kind::kTemporary, second_tile});
  }
  const int rounds = exchange.in_a_loop ? 1 : exchange.rounds;
  std::vector<plan::Instruction> here, there;
  for (int round = 0; round < rounds; ++round) {
    const SlotId t(2 + round % 2), answer(4);
    auto add = [](std::vector<plan::Instruction>& list, auto action) {
      list.emplace_back().action = std::move(action);
    };
    add(here, plan::RunInstruction{0, {SlotId(0), SlotId()}, {t}, exchange.in_a_loop ? -1 : round});
    add(here, plan::SendInstruction{t, 0});
    if (exchange.answers) {
      add(here, plan::RecvInstruction{answer, 1});
      add(here, plan::RunInstruction{1, {SlotId(0), answer, SlotId(1)}, {SlotId(0), SlotId(1)}});
      add(here, plan::FreeInstruction{answer});
    }
    add(here, plan::FreeInstruction{t});
    add(there, plan::RecvInstruction{t, 0});
    add(there, plan::RunInstruction{2, {SlotId(0), t, SlotId(1)}, {SlotId(0), answer, SlotId(1)}});
    if (exchange.answers) add(there, plan::SendInstruction{answer, 1});
    add(there, plan::FreeInstruction{answer});
    add(there, plan::FreeInstruction{t});
  }
  for (auto* list : {&here, &there}) {
    if (!exchange.in_a_loop) continue;
    plan::LoopInstruction loop;
    loop.count = exchange.rounds;
    loop.body = std::move(*list);
    list->clear();
    list->emplace_back().action = std::move(loop);
  }
  first.instructions = std::move(here);
  second.instructions = std::move(there);
  out.mesh_programs = {std::move(first), std::move(second)};
  out.inputs = {Place("state['w']", whole, exchange.from, 0), Place("state['v']", whole, exchange.to, 1),
                {"state['s']", {DType::kF32, {4}}, {{{{0}, {2}}, MeshId(0), {}}, {{{2}, {2}}, MeshId(1), {}}}}};
  out.input_is_state = {true, true, true};
  for (const plan::LeafPlacement& leaf : out.inputs) out.outputs.push_back({leaf.path, leaf.shape, {}});
  return out;
}

void ExpectExchange(const Exchange& exchange, ExchangeState& state) {
  for (int round = 0; round < exchange.rounds; ++round) {
    for (size_t i = 0; i < state.w.size(); ++i) {
      state.v[i] = state.w[i] + static_cast<float>(round) - state.v[i];
      if (exchange.answers) state.w[i] = state.v[i] + 1 - state.w[i];
    }
    for (size_t i = exchange.answers ? 0 : 2; i < 4; ++i) state.s[i] += 1;
  }
}

Executable SplitStateExecutable() {
  const Shape m{DType::kF32, {4, 5}}, tile{DType::kF32, {4, 3}}, r{DType::kF32, {4}};
  Executable out;
  out.meshes = {TestMesh({2})};
  GraphBuilder b;
  const ValueId matrix = b.Parameter(tile), row = b.Parameter(r);
  b.SetResults({b.Binary(Opcode::kAdd, matrix, b.Full(tile, 1)), row});
  out.programs.push_back({"step", MeshId(0), b.Build(), {0, 1}});
  plan::MeshProgram list;
  list.slots = {{Slot::Kind::kState, tile, 0, 0}, {Slot::Kind::kState, r, 1, 0}};
  list.instructions = {{plan::RunInstruction{0, {SlotId(0), SlotId(1)}, {SlotId(0), SlotId(1)}}}};
  out.mesh_programs = {list};
  out.inputs = {Place("state['m']", m, Sharding::Split(1, 0)), Place("state['r']", r, Sharding::Replicated())};
  out.input_is_state = {true, true};
  out.outputs = {{"state['m']", m, {}}, {"state['r']", r, {}}};
  return out;
}

}  // namespace alpa::worker
