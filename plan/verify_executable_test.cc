// Hand-broken executables, each refused for its own reason; and lists that would deadlock.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "graph/builder.h"
#include "plan/executable.h"
#include "plan/serialize.h"
#include "plan/verify_progress.h"
#include "proto/plan.pb.h"

namespace alpa::plan {
namespace {

using ::testing::HasSubstr;

const graph::Shape kVector{graph::DType::kF32, {4}};

// w' = w + sum over micro-batches and devices of x: a loop that accumulates, an update that reduces.
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
    e.programs.push_back({"micro-batch", MeshId(0), b.Build(), {0}});
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

class BrokenExecutableTest : public ::testing::TestWithParam<Breakage> {};

TEST_P(BrokenExecutableTest, IsRefusedForItsReason) {
  Executable e = Valid();
  ASSERT_TRUE(Verify(e).ok()) << Verify(e);
  GetParam().apply(e);
  const absl::Status status = Verify(e);
  ASSERT_FALSE(status.ok());
  EXPECT_THAT(std::string(status.message()), HasSubstr(GetParam().reason));
}

INSTANTIATE_TEST_SUITE_P(
    Lists, BrokenExecutableTest,
    ::testing::Values(
        Breakage{"unknown_program", [](Executable& e) { Update(e).program = 7; }, "program 7 of 2"},
        Breakage{"missing_input", [](Executable& e) { Update(e).inputs.pop_back(); }, "takes 2 inputs"},
        Breakage{"missing_output", [](Executable& e) { Update(e).outputs.pop_back(); }, "slots are named"},
        Breakage{"slot_out_of_range", [](Executable& e) { Update(e).inputs[1] = SlotId(99); }, "slot 99 of 4"},
        Breakage{"read_before_alloc", [](Executable& e) { List(e).erase(List(e).begin()); }, "before anything was put"},
        Breakage{"leak", [](Executable& e) { List(e).pop_back(); }, "never freed"},
        Breakage{"double_free", [](Executable& e) { List(e).push_back({FreeInstruction{SlotId(2)}}); }, "holds nothing"},
        Breakage{"free_of_state", [](Executable& e) { List(e).push_back({FreeInstruction{SlotId(0)}}); }, "not temporary"},
        Breakage{"double_alloc", [](Executable& e) { List(e).insert(List(e).begin(), List(e)[0]); }, "in use"},
        Breakage{"alloc_of_state", [](Executable& e) { List(e)[0] = {AllocInstruction{SlotId(0), 0}}; }, "from outside"},
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
        Breakage{"wrong_tile", [](Executable& e) { e.inputs[1].regions[0].sharding = Sharding::Split(0, 0); }, "placement makes it"},
        Breakage{"leaf_without_slot", [](Executable& e) { e.outputs[0].regions = e.inputs[0].regions; }, "has no slot"},
        Breakage{"slot_without_leaf", [](Executable& e) { e.mesh_programs[0].slots[3].leaf = 9; }, "which is nowhere"},
        Breakage{"slot_of_wrong_shape", [](Executable& e) { e.mesh_programs[0].slots[2].shape.dims = {5}; }, "is f32[4]"},
        Breakage{"loop_index_outside",
                 [](Executable& e) {
                   List(e)[1] = Loop(e).body[0];
                 },
                 "outside of any loop"},
        Breakage{"loop_in_loop", [](Executable& e) {
                   LoopInstruction outer;
                   outer.count = 2;
                   outer.body.push_back({Loop(e)});
                   List(e)[1] = {outer};
                 }, "a loop inside a loop"},
        Breakage{"endless_loop", [](Executable& e) { Loop(e).count = 0; }, "a loop of 0 rounds"},
        Breakage{"rounds_differ", [](Executable& e) { Loop(e).body.push_back({FreeInstruction{SlotId(2)}}); }, "before anything"},
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

// Two one-device meshes that talk to each other.
Executable TwoMeshes(std::vector<std::vector<Instruction>> lists) {
  Executable e;
  for (int m = 0; m < 2; ++m) {
    cluster::Mesh mesh;
    mesh.shape = {1};
    mesh.axis_names = {"data"};
    mesh.devices = {DeviceId(m)};
    e.meshes.push_back(mesh);
    e.mesh_programs.push_back({{{Slot::Kind::kTemporary, kVector, -1, 0}}, lists[m]});
  }
  return e;
}
Instruction Send(int mesh, int tag) { return {SendInstruction{SlotId(0), MeshId(mesh), 0, tag}}; }
Instruction Recv(int mesh, int tag) { return {RecvInstruction{SlotId(0), MeshId(mesh), 0, tag}}; }

TEST(VerifyProgressTest, AcceptsMatchedOrder) {
  EXPECT_TRUE(VerifyProgress(TwoMeshes({{Send(1, 1), Recv(1, 2)}, {Recv(0, 1), Send(0, 2)}})).ok());
}

TEST(VerifyProgressTest, RefusesSendsThatRunOnlyWhenBuffered) {
  const absl::Status status = VerifyProgress(TwoMeshes({{Send(1, 1), Recv(1, 2)}, {Send(0, 2), Recv(0, 1)}}));
  EXPECT_THAT(std::string(status.message()), HasSubstr("deadlock"));
}

TEST(VerifyProgressTest, RefusesMissingReceiveAndWrongTag) {
  EXPECT_FALSE(VerifyProgress(TwoMeshes({{Send(1, 1)}, {}})).ok());
  EXPECT_FALSE(VerifyProgress(TwoMeshes({{Send(1, 1)}, {Recv(0, 3)}})).ok());
}

TEST(VerifyProgressTest, RefusesCrossedOrder) {
  EXPECT_FALSE(VerifyProgress(TwoMeshes({{Send(1, 1), Send(1, 2)}, {Recv(0, 2), Recv(0, 1)}})).ok());
}

TEST(SerializeTest, ExecutableSurvivesTheWire) {
  const Executable e = Valid();
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

TEST(SerializeTest, RefusesUnknownKinds) {
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
}

}  // namespace
}  // namespace alpa::plan
