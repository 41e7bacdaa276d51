// Breaks valid executables by hand. Verify must refuse each one for the right reason, such as a deadlock.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <functional>

#include "graph/builder.h"
#include "plan/executable.h"
#include "plan/reshard.h"
#include "plan/serialize.h"
#include "plan/verify_progress.h"
#include "proto/plan.pb.h"

namespace alpa::plan {
namespace {

using ::testing::HasSubstr;

const graph::Shape kVector{graph::DType::kF32, {4}};

// Returns a valid executable. It computes w' = w + the sum of x over microbatches and devices. A loop accumulates x.
// Then an update reduces the sum over the devices.
Executable Valid() {
  Executable e;
  cluster::Mesh mesh;
  mesh.shape = {2};
  mesh.axis_names = {"data"};
  mesh.devices = {DeviceId(0), DeviceId(1)};
  e.meshes = {mesh};
  {
    graph::GraphBuilder b;
    graph::ValueId sum = b.Parameter(kVector), x = b.Parameter(kVector);
    b.Parameter({graph::DType::kS32, {}});
    b.SetResults({b.Binary(graph::Opcode::kAdd, sum, x)});
    e.programs.push_back({"microbatch", MeshId(0), b.Build(), {0}});
  }
  {
    graph::GraphBuilder b;
    graph::ValueId w = b.Parameter(kVector), sum = b.Parameter(kVector);
    graph::ValueId total = b.AllReduce({sum}, {0}, graph::ReduceKind::kSum)[0];
    b.SetResults({b.Binary(graph::Opcode::kAdd, w, total), total});
    e.programs.push_back({"update", MeshId(0), b.Build(), {0, -1}});
  }
  const LeafPlacement leaf{"w", kVector, {{{{0}, {4}}, MeshId(0), Sharding::Replicated()}}};
  e.inputs = {leaf, leaf};
  e.inputs[1].path = "x";
  e.input_is_state = {true, false};
  e.outputs = {{"w", kVector, {}}, leaf};
  MeshProgram list;
  list.slots = {{Slot::Kind::kState, kVector, 0, 0}, {Slot::Kind::kInput, kVector, 1, 0},
                {Slot::Kind::kTemporary, kVector, -1, 0}, {Slot::Kind::kAux, kVector, 1, 0}};
  LoopInstruction loop;
  loop.count = 3;
  loop.body.push_back({RunInstruction{0, {SlotId(2), SlotId(1), SlotId()}, {SlotId(2)}}});
  list.instructions.push_back({AllocInstruction{SlotId(2), 0}});
  list.instructions.push_back({loop});
  list.instructions.push_back({RunInstruction{1, {SlotId(0), SlotId(2)}, {SlotId(0), SlotId(3)}}});
  list.instructions.push_back({FreeInstruction{SlotId(2)}});
  e.mesh_programs = {list};
  return e;
}

std::vector<Instruction>& List(Executable& e) { return e.mesh_programs[0].instructions; }
RunInstruction& Update(Executable& e) { return std::get<RunInstruction>(List(e)[2].action); }
LoopInstruction& Loop(Executable& e) { return std::get<LoopInstruction>(List(e)[1].action); }

struct Breakage {
  std::string name;
  std::function<void(Executable&)> apply;
  std::string reason;
};

void ExpectRefused(Executable e, const Breakage& breakage) {
  ASSERT_TRUE(Verify(e).ok()) << Verify(e);
  breakage.apply(e);
  const absl::Status status = Verify(e);
  ASSERT_FALSE(status.ok());
  EXPECT_THAT(std::string(status.message()), HasSubstr(breakage.reason));
}

class BrokenExecutableTest : public ::testing::TestWithParam<Breakage> {};

TEST_P(BrokenExecutableTest, IsRefusedForItsReason) {
  ExpectRefused(Valid(), GetParam());
}

INSTANTIATE_TEST_SUITE_P(
    Lists, BrokenExecutableTest,
    ::testing::Values(
        Breakage{"unknown_program", [](Executable& e) { Update(e).program = 7; }, "program 7; there are 2 programs"},
        Breakage{"missing_input", [](Executable& e) { Update(e).inputs.pop_back(); }, "takes 2 inputs"},
        Breakage{"missing_output", [](Executable& e) { Update(e).outputs.pop_back(); }, "but RUN names"},
        Breakage{"slot_out_of_range", [](Executable& e) { Update(e).inputs[1] = SlotId(99); },
                 "slot 99; the mesh has 4 slots"},
        Breakage{"read_before_alloc", [](Executable& e) { List(e).erase(List(e).begin()); }, "before it holds a value"},
        Breakage{"leak", [](Executable& e) { List(e).pop_back(); }, "never freed"},
        Breakage{"double_free", [](Executable& e) { List(e).push_back({FreeInstruction{SlotId(2)}}); },
                 "holds no value"},
        Breakage{"free_of_state", [](Executable& e) { List(e).push_back({FreeInstruction{SlotId(0)}}); },
                 "not temporary"},
        Breakage{"double_alloc", [](Executable& e) { List(e).insert(List(e).begin(), List(e)[0]); }, "in use"},
        Breakage{"alloc_of_state", [](Executable& e) { List(e)[0] = {AllocInstruction{SlotId(0), 0}}; },
                 "from outside"},
        Breakage{"write_to_input",
                 [](Executable& e) {
                   Update(e).outputs[1] = SlotId(1);
                 },
                 "it is an input"},
        Breakage{"aux_not_written", [](Executable& e) {
                   e.mesh_programs[0].slots.push_back({Slot::Kind::kTemporary, kVector, -1, 0});
                   Update(e).outputs[1] = SlotId(4);
                   List(e).push_back({FreeInstruction{SlotId(4)}});
                 }, "aux slot 3 is never written"},
        Breakage{"two_outputs_one_slot", [](Executable& e) { Update(e).outputs[1] = SlotId(0); }, "two outputs"},
        Breakage{"not_in_place", [](Executable& e) { e.programs[1].alias = {-1, -1}; }, "aliases input -1"},
        Breakage{"alias_of_another_slot",
                 [](Executable& e) {
                   e.programs[1].alias = {0, 1};
                 },
                 "aliases input 1"},
        Breakage{"alias_twice", [](Executable& e) { e.programs[1].alias = {0, 0}; }, "two results alias"},
        Breakage{"alias_out_of_range", [](Executable& e) { e.programs[1].alias = {5, -1}; }, "aliases parameter 5"},
        Breakage{"wrong_tile", [](Executable& e) { e.inputs[1].regions[0].sharding = Sharding::Split(0, 0); },
                 "placement implies"},
        Breakage{"leaf_without_slot", [](Executable& e) { e.outputs[0].regions = e.inputs[0].regions; }, "has no slot"},
        Breakage{"slot_without_leaf", [](Executable& e) { e.mesh_programs[0].slots[3].leaf = 9; },
                 "which no placement lists"},
        Breakage{"slot_of_wrong_shape", [](Executable& e) { e.mesh_programs[0].slots[2].shape.dims = {5}; },
                 "is f32[4]"},
        Breakage{"loop_index_outside",
                 [](Executable& e) {
                   List(e)[1] = Loop(e).body[0];
                 },
                 "outside of any loop and without"},
        Breakage{"loop_in_loop", [](Executable& e) {
                   LoopInstruction outer;
                   outer.count = 2;
                   outer.body.push_back({Loop(e)});
                   List(e)[1] = {outer};
                 }, "a loop inside a loop"},
        Breakage{"endless_loop", [](Executable& e) { Loop(e).count = 0; }, "a loop of 0 rounds"},
        Breakage{"second_round_without_a_value",
                 [](Executable& e) { Loop(e).body.push_back({FreeInstruction{SlotId(2)}}); },
                 "before it holds a value"},
        Breakage{"device_twice", [](Executable& e) { e.meshes[0].devices[1] = DeviceId(0); }, "device 0 twice"},
        Breakage{"list_missing", [](Executable& e) { e.mesh_programs.clear(); }, "0 instruction lists"},
        Breakage{"region_outside", [](Executable& e) { e.inputs[0].regions[0].region.size = {5}; }, "region outside"},
        Breakage{"axis_unknown", [](Executable& e) {
                   graph::GraphBuilder b;
                   graph::ValueId w = b.Parameter(kVector), sum = b.Parameter(kVector);
                   graph::ValueId total = b.AllReduce({sum}, {3}, graph::ReduceKind::kSum)[0];
                   b.SetResults({b.Binary(graph::Opcode::kAdd, w, total), total});
                   e.programs[1].graph = b.Build();
                 }, "program 1"}),
    [](const auto& info) { return info.param.name; });

// A valid pipeline: mesh 0 has 2 devices, mesh 1 has 3. In each of two microbatches, the meshes exchange an array
// f32[6]. On the edge "there", the array is split over the devices of both meshes. On the edge "back", the array is
// replicated on mesh 1 and split on mesh 0.
constexpr int32_t kThere = 0, kBack = 1;
const graph::Shape kArray{graph::DType::kF32, {6}}, kThird{graph::DType::kF32, {2}}, kHalf{graph::DType::kF32, {3}};

cluster::Mesh OneAxisMesh(int size, int first_device) {
  cluster::Mesh mesh;
  mesh.shape = {size};
  mesh.axis_names = {"data"};
  for (int d = 0; d < size; ++d) mesh.devices.push_back(DeviceId(first_device + d));
  return mesh;
}

Executable ValidPipeline() {
  Executable e;
  e.meshes = {OneAxisMesh(2, 0), OneAxisMesh(3, 2)};
  e.edges = {{kArray, MeshId(0), MeshId(1), Sharding::Split(0, 0), Sharding::Split(0, 0)},
             {kArray, MeshId(1), MeshId(0), Sharding::Replicated(), Sharding::Split(0, 0)}};
  const graph::Shape index{graph::DType::kS32, {}};
  {
    graph::GraphBuilder b;
    b.Parameter(index);
    b.SetResults({b.Full(kHalf, 1)});
    e.programs.push_back({"make", MeshId(0), b.Build(), {-1}});
  }
  {
    graph::GraphBuilder b;
    const graph::ValueId total = b.AllReduce({b.Parameter(kThird)}, {0}, graph::ReduceKind::kSum)[0];
    b.SetResults({b.Concatenate({total, total, total}, 0)});
    e.programs.push_back({"use", MeshId(1), b.Build(), {-1}});
  }
  MeshProgram first, second;
  first.slots = {{Slot::Kind::kTemporary, kHalf}, {Slot::Kind::kTemporary, kHalf}, {Slot::Kind::kInput, kHalf, 0, 0}};
  second.slots = {{Slot::Kind::kTemporary, kThird}, {Slot::Kind::kTemporary, kArray}};
  for (int m = 0; m < 2; ++m) {
    first.instructions.push_back({RunInstruction{0, {SlotId()}, {SlotId(0)}, m}});
    first.instructions.push_back({SendInstruction{SlotId(0), kThere}});
    first.instructions.push_back({RecvInstruction{SlotId(1), kBack}});
    first.instructions.push_back({FreeInstruction{SlotId(0)}});
    first.instructions.push_back({FreeInstruction{SlotId(1)}});
    second.instructions.push_back({RecvInstruction{SlotId(0), kThere}});
    second.instructions.push_back({RunInstruction{1, {SlotId(0)}, {SlotId(1)}}});
    second.instructions.push_back({SendInstruction{SlotId(1), kBack}});
    second.instructions.push_back({FreeInstruction{SlotId(0)}});
    second.instructions.push_back({FreeInstruction{SlotId(1)}});
  }
  e.mesh_programs = {first, second};
  e.inputs = {{"x", kArray, {{{{0}, {6}}, MeshId(0), Sharding::Split(0, 0)}}}};
  e.input_is_state = {false};
  return e;
}

std::vector<Instruction>& ListOf(Executable& e, int mesh) { return e.mesh_programs[mesh].instructions; }
template <typename T>
T& At(Executable& e, int mesh, int at) { return std::get<T>(ListOf(e, mesh)[at].action); }
void Swap(Executable& e, int mesh, int a, int b) { std::swap(ListOf(e, mesh)[a], ListOf(e, mesh)[b]); }
void Erase(Executable& e, int mesh, int at) { ListOf(e, mesh).erase(ListOf(e, mesh).begin() + at); }
void Insert(Executable& e, int mesh, int at, Instruction instruction) {
  ListOf(e, mesh).insert(ListOf(e, mesh).begin() + at, std::move(instruction));
}

class BrokenPipelineTest : public ::testing::TestWithParam<Breakage> {};

TEST_P(BrokenPipelineTest, IsRefusedForItsReason) {
  ExpectRefused(ValidPipeline(), GetParam());
}

INSTANTIATE_TEST_SUITE_P(
    Edges, BrokenPipelineTest,
    ::testing::Values(
        Breakage{"to_no_mesh", [](Executable& e) { e.edges[0].to_mesh = MeshId(2); },
                 "edge 0: it names mesh 2; there are 2"},
        Breakage{"from_no_mesh", [](Executable& e) { e.edges[1].from_mesh = MeshId(); },
                 "edge 1: it names mesh -1; there are 2"},
        Breakage{"to_itself", [](Executable& e) { e.edges[0].to_mesh = MeshId(0); }, "from mesh 0 to itself"},
        Breakage{"axis_unknown", [](Executable& e) { e.edges[0].to = Sharding::Split(0, 1); },
                 "edge 0: to: sharding names mesh axis 1"},
        Breakage{"sharding_of_another_rank", [](Executable& e) { e.edges[0].from = Sharding::Split(1, 0); },
                 "edge 0: from: sharding names 2 dimensions"},
        Breakage{"negative_size", [](Executable& e) { e.edges[0].shape.dims = {-6}; }, "dimension of size -6"},
        Breakage{"huge_array", [](Executable& e) { e.edges[0].shape.dims = {1 << 30, 1 << 30, 1 << 30}; }, "64 bits"},
        Breakage{"unused_edge", [](Executable& e) { e.edges.push_back(e.edges[0]); }, "edge 2 is never used"},
        Breakage{"unknown_edge", [](Executable& e) { At<SendInstruction>(e, 0, 1).edge = 2; }, "edge 2; there are 2"},
        Breakage{"no_edge", [](Executable& e) { At<RecvInstruction>(e, 1, 0).edge = -1; }, "edge -1; there are 2"},
        Breakage{"send_against_the_edge", [](Executable& e) { At<SendInstruction>(e, 0, 1).edge = kBack; },
                 "mesh 0: instruction 1: edge 1 goes from mesh 1 to mesh 0"},
        Breakage{"receive_against_the_edge", [](Executable& e) { At<RecvInstruction>(e, 0, 2).edge = kThere; },
                 "mesh 0: instruction 2: edge 0 goes from mesh 0 to mesh 1"},
        Breakage{"send_of_another_tile", [](Executable& e) { e.edges[kThere].from = Sharding::Replicated(); },
                 "a tile of edge 0 is f32[6], but slot 0 is f32[3]"},
        Breakage{"receive_of_another_tile", [](Executable& e) { At<RecvInstruction>(e, 1, 0).slot = SlotId(1); },
                 "a tile of edge 0 is f32[2], but slot 1 is f32[6]"},
        Breakage{"another_type", [](Executable& e) { e.edges[kThere].shape.dtype = graph::DType::kS32; },
                 "is s32[3], but slot 0"},
        Breakage{"send_of_nothing", [](Executable& e) { Swap(e, 0, 0, 1); }, "slot 0 is read before it holds a value"},
        Breakage{"receive_into_input", [](Executable& e) { At<RecvInstruction>(e, 0, 2).slot = SlotId(2); },
                 "it is an input"},
        Breakage{"slot_out_of_range", [](Executable& e) { At<SendInstruction>(e, 0, 1).slot = SlotId(9); },
                 "slot 9; the mesh has 3 slots"},
        Breakage{"received_and_never_freed", [](Executable& e) { Erase(e, 0, 9); }, "temporary slot 1 is never freed"},
        Breakage{"no_index", [](Executable& e) { At<RunInstruction>(e, 0, 0).index = -1; }, "without an index"},
        Breakage{"huge_index", [](Executable& e) { At<RunInstruction>(e, 0, 0).index = 1 << 20; }, "index 1048576"},
        Breakage{"negative_index", [](Executable& e) { At<RunInstruction>(e, 0, 0).index = -2; }, "index -2"},
        Breakage{"index_in_a_loop", [](Executable& e) {
                   ListOf(e, 0)[0] = {LoopInstruction{2, {ListOf(e, 0)[0]}}};
                 }, "RUN has index 0, but is in a loop"},
        Breakage{"missing_receive", [](Executable& e) { Erase(e, 0, 2), Erase(e, 0, 3); },
                 "edge 1: the number of sends (2) differs from the number of receives (1)"},
        Breakage{"missing_send", [](Executable& e) { Erase(e, 0, 6); },
                 "edge 0: the number of sends (1) differs from the number of receives (2)"},
        Breakage{"sent_in_each_round", [](Executable& e) {
                   ListOf(e, 0)[1] = {LoopInstruction{3, {ListOf(e, 0)[1]}}};
                 }, "edge 0: the number of sends (4) differs from the number of receives (2)"},
        // The lists of the next cases would reach their ends only if sends were buffered.
        Breakage{"both_send_first", [](Executable& e) {
                   for (const int free : {9, 6, 4}) Erase(e, 1, free);   // without FREE, slot 1 keeps its value
                   std::vector<Instruction>& list = ListOf(e, 1);
                   list = {{AllocInstruction{SlotId(1), 0}}, {SendInstruction{SlotId(1), kBack}},
                           {RecvInstruction{SlotId(0), kThere}}, {SendInstruction{SlotId(1), kBack}},
                           {RecvInstruction{SlotId(0), kThere}}, {FreeInstruction{SlotId(0)}},
                           {FreeInstruction{SlotId(1)}}};
                 },
                 "deadlock: device 0 of mesh 0 waits forever at instruction 1 (SEND over edge 0) for device 0 of mesh "
                 "1, which is at instruction 1 (SEND over edge 1)"},
        Breakage{"second_sent_before_first_answer", [](Executable& e) {
                   // This is 1F1B with a wrong warm-up. Mesh 0 sends both microbatches before it receives. Mesh 1
                   // answers the first microbatch before it receives the second.
                   ListOf(e, 0) = {{RunInstruction{0, {SlotId()}, {SlotId(0)}, 0}},
                                   {SendInstruction{SlotId(0), kThere}},
                                   {SendInstruction{SlotId(0), kThere}}, {RecvInstruction{SlotId(1), kBack}},
                                   {RecvInstruction{SlotId(1), kBack}}, {FreeInstruction{SlotId(0)}},
                                   {FreeInstruction{SlotId(1)}}};
                 },
                 "waits forever at instruction 2 (SEND over edge 0) for device 0 of mesh 1, which is at instruction 2 "
                 "(SEND over"},
        Breakage{"edges_crossed", [](Executable& e) {
                   e.edges.push_back(e.edges[kThere]);
                   Insert(e, 0, 2, {SendInstruction{SlotId(0), 2}});
                   Insert(e, 1, 0, {RecvInstruction{SlotId(0), 2}});
                 },
                 "at instruction 1 (SEND over edge 0) for device 0 of mesh 1, which is at instruction 0 (RECV over "
                 "edge 2)"},
        Breakage{"late_receive_in_a_loop", [](Executable& e) {
                   e.edges.push_back(e.edges[kBack]);
                   const std::vector<Instruction> send = {{SendInstruction{SlotId(1), 2}},
                                                          {SendInstruction{SlotId(1), kBack}}};
                   const std::vector<Instruction> receive = {{RecvInstruction{SlotId(1), kBack}},
                                                             {RecvInstruction{SlotId(1), 2}}};
                   Insert(e, 0, 9, {LoopInstruction{4, receive}});
                   Insert(e, 1, 9, {LoopInstruction{4, send}});
                 },
                 "instruction 0 of the loop at 9, round 0 (RECV over edge 1)"},
        Breakage{"ring_of_sends", [](Executable& e) {
                   // Each of three meshes sends to the next one before it receives from the previous one.
                   e.meshes.push_back(OneAxisMesh(1, 5));
                   e.mesh_programs.emplace_back();
                   e.mesh_programs[0].slots.resize(2);
                   e.inputs.clear();
                   e.input_is_state.clear();
                   e.edges.clear();
                   for (int m = 0; m < 3; ++m) {
                     e.edges.push_back({kArray, MeshId(m), MeshId((m + 1) % 3)});
                     e.mesh_programs[m].slots = {{Slot::Kind::kTemporary, kArray}, {Slot::Kind::kTemporary, kArray}};
                     ListOf(e, m) = {{AllocInstruction{SlotId(0), 0}}, {SendInstruction{SlotId(0), m}},
                                     {RecvInstruction{SlotId(1), (m + 2) % 3}}, {FreeInstruction{SlotId(0)}},
                                     {FreeInstruction{SlotId(1)}}};
                   }
                 },
                 "deadlock"}),
    [](const auto& info) { return info.param.name; });

TEST(VerifyProgressTest, MessagesOfOneInstructionMayMeetInAnyOrder) {
  // Each device of one mesh exchanges messages with both devices of the other mesh. The devices reach the instruction
  // in different orders.
  Executable e = ValidPipeline();
  e.meshes[0] = OneAxisMesh(2, 0);
  e.meshes[1] = OneAxisMesh(2, 2);
  e.edges = {{{graph::DType::kF32, {2, 2}}, MeshId(0), MeshId(1), Sharding::Split(0, 0), Sharding::Split(1, 0)}};
  e.mesh_programs[0].instructions = {{SendInstruction{SlotId(0), 0}}};
  e.mesh_programs[1].instructions = {{RecvInstruction{SlotId(0), 0}}};
  EXPECT_TRUE(VerifyProgress(e).ok()) << VerifyProgress(e);
}

// Verifies 16 meshes of 4 devices with 64 microbatches, first all forwards, then all backwards. Neighbours exchange 20
// arrays per microbatch in each direction.
TEST(VerifyProgressTest, VerifiesALongPipelineQuickly) {
  constexpr int kMeshes = 16, kMicrobatches = 64, kArrays = 20;
  Executable e;
  std::vector<std::vector<int32_t>> forward(kMeshes), backward(kMeshes);   // to the next mesh; from the next mesh
  for (int m = 0; m < kMeshes; ++m) {
    e.meshes.push_back(OneAxisMesh(4, 4 * m));
    e.mesh_programs.push_back({{{Slot::Kind::kTemporary, {graph::DType::kF32, {2}}}}, {}});
  }
  for (int m = 0; m + 1 < kMeshes; ++m) {
    for (int a = 0; a < kArrays; ++a) {
      forward[m].push_back(static_cast<int32_t>(e.edges.size()));
      e.edges.push_back(
          {{graph::DType::kF32, {8}}, MeshId(m), MeshId(m + 1), Sharding::Split(0, 0), Sharding::Split(0, 0)});
      backward[m].push_back(static_cast<int32_t>(e.edges.size()));
      e.edges.push_back({{graph::DType::kF32, {2}}, MeshId(m + 1), MeshId(m), {}, {}});
    }
  }
  for (int m = 0; m < kMeshes; ++m) {
    auto& list = e.mesh_programs[m].instructions;
    auto send = [&](const std::vector<int32_t>& edges) {
      for (int32_t edge : edges) list.emplace_back().action = SendInstruction{SlotId(0), edge};
    };
    auto receive = [&](const std::vector<int32_t>& edges) {
      for (int32_t edge : edges) list.emplace_back().action = RecvInstruction{SlotId(0), edge};
    };
    auto run_forward = [&] {
      if (m > 0) receive(forward[m - 1]);
      send(forward[m]);
    };
    auto run_backward = [&] {
      receive(backward[m]);
      if (m > 0) send(backward[m - 1]);
    };
    for (int b = 0; b < kMicrobatches; ++b) run_forward();
    for (int b = 0; b < kMicrobatches; ++b) run_backward();
  }
  const auto begin = std::chrono::steady_clock::now();
  const absl::Status status = VerifyProgress(e);
  EXPECT_TRUE(status.ok()) << status;
  // The bound is 100 times the usual duration, because sanitizers slow the test down.
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(2));
}

TEST(EdgeTest, TransfersFillEveryTileOnce) {
  const Executable e = ValidPipeline();
  const std::vector<Transfer> there = Transfers(e.edges[kThere], e.meshes);
  std::vector<std::string> text;
  for (const Transfer& t : there) {
    text.push_back(
        absl::StrCat(t.source.value(), ">", t.destination.value(), " ", t.region.start[0], "+", t.region.size[0]));
  }
  EXPECT_THAT(text, ::testing::ElementsAre("0>2 0+2", "1>3 3+1", "0>3 2+1", "1>4 4+2"));
  EXPECT_EQ(Transfers(e.edges[kBack], e.meshes).size(), 2u);
}

TEST(EdgeTest, PrintShowsEdgesAndTheirInstructions) {
  const std::string text = Print(ValidPipeline());
  EXPECT_THAT(text, HasSubstr("edge 0: f32[6] from mesh 0 [data] to mesh 1 [data]"));
  EXPECT_THAT(text, HasSubstr("RUN \"make\" #1 (loop-index) -> s0"));
  EXPECT_THAT(text, HasSubstr("SEND s0 over edge 0 (f32[6] to mesh 1)"));
  EXPECT_THAT(text, HasSubstr("RECV s1 over edge 1 (f32[6] from mesh 1)"));
}

class ExecutableOnTheWireTest : public ::testing::TestWithParam<bool> {};

TEST_P(ExecutableOnTheWireTest, RoundTripKeepsTheExecutable) {
  const Executable e = GetParam() ? ValidPipeline() : Valid();
  proto::Executable message;
  ToProto(e, &message);
  proto::Executable parsed;
  ASSERT_TRUE(parsed.ParseFromString(message.SerializeAsString()));
  const auto back = FromProto(parsed);
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_TRUE(Verify(*back).ok()) << Verify(*back);
  EXPECT_EQ(Print(*back), Print(e));
  proto::Executable again;
  ToProto(*back, &again);
  EXPECT_EQ(again.SerializeAsString(), message.SerializeAsString());
}
INSTANTIATE_TEST_SUITE_P(Edges, ExecutableOnTheWireTest, ::testing::Bool(),
                         [](const auto& info) { return info.param ? "with_edges" : "without"; });

TEST(SerializeTest, RefusesUnknownKindsAndNegativeSizes) {
  proto::Executable message;
  ToProto(Valid(), &message);
  message.mutable_mesh_programs(0)->mutable_slots(0)->mutable_shape()->set_dtype(99);
  EXPECT_FALSE(FromProto(message).ok());
  ToProto(Valid(), &(message = proto::Executable()));
  message.mutable_mesh_programs(0)->add_instructions();
  EXPECT_FALSE(FromProto(message).ok());
  ToProto(Valid(), &(message = proto::Executable()));
  message.mutable_inputs(0)->mutable_shape()->set_dims(0, -4);
  EXPECT_FALSE(FromProto(message).ok());
  ToProto(ValidPipeline(), &(message = proto::Executable()));
  message.mutable_edges(0)->mutable_shape()->set_dims(0, -4);
  EXPECT_FALSE(FromProto(message).ok());
}

}  // namespace
}  // namespace alpa::plan
