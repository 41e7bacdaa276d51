#include "plan/serialize.h"

#include <xxhash.h>

#include "base/status.h"
#include "graph/serialize.h"
#include "proto/plan.pb.h"

namespace alpa::plan {
namespace {

// Bounds on messages, which come from outside.
constexpr int kMaxRank = 64;            // maximum rank of an array
constexpr int kMaxSlots = 10'000'000;   // maximum number of slots of a mesh program
constexpr int kMaxEdges = 1'000'000;    // maximum number of edges of an executable
constexpr size_t kMaxPath = 2048;       // maximum number of bytes of a leaf's path; error messages quote paths

absl::Status CheckPath(const std::string& path) {
  if (path.size() <= kMaxPath) return absl::OkStatus();
  return InvalidArgument("a path has %d bytes; at most %d are allowed: %s", path.size(), kMaxPath, Excerpt(path));
}

template <typename Repeated>
std::vector<int64_t> Int64s(const Repeated& in) {
  return {in.begin(), in.end()};
}

void ToProto(const graph::Shape& shape, proto::Shape* out) {
  out->set_dtype(static_cast<int32_t>(shape.dtype));
  for (int64_t d : shape.dims) out->add_dims(d);
}
absl::StatusOr<graph::Shape> FromProto(const proto::Shape& in) {
  graph::Shape shape;
  bool known = false;
  for (graph::DType dtype : {graph::DType::kPred, graph::DType::kS8, graph::DType::kS16, graph::DType::kS32,
                             graph::DType::kS64, graph::DType::kU8, graph::DType::kU16, graph::DType::kU32,
                             graph::DType::kU64, graph::DType::kF16, graph::DType::kF32, graph::DType::kF64,
                             graph::DType::kBF16}) {
    if (static_cast<int32_t>(dtype) == in.dtype()) shape.dtype = dtype, known = true;
  }
  if (!known) return InvalidArgument("element type %d is unknown", in.dtype());
  if (in.dims_size() > kMaxRank) return InvalidArgument("the rank of an array is too high: %d", in.dims_size());
  int64_t bytes = graph::SizeOf(shape.dtype);
  for (int64_t d : in.dims()) {
    if (d < 0) return InvalidArgument("an array has a dimension of size %d", d);
    const std::optional<int64_t> product = CheckedMultiply(bytes, std::max<int64_t>(1, d));
    if (!product) return InvalidArgument("the size of an array in bytes does not fit into 64 bits");
    bytes = *product;
    shape.dims.push_back(d);
  }
  return shape;
}

void ToProto(const Sharding& sharding, proto::Sharding* out) {
  for (const auto& axes : sharding.dim_axes) {
    proto::Axes* dim = out->add_dims();
    for (int64_t axis : axes) dim->add_axes(axis);
  }
}
absl::StatusOr<Sharding> FromProto(const proto::Sharding& in) {
  Sharding sharding;
  for (const proto::Axes& dim : in.dims()) sharding.dim_axes.push_back(Int64s(dim.axes()));
  return sharding;
}

template <typename Slots>
std::vector<SlotId> SlotIds(const Slots& in) {
  std::vector<SlotId> slots;
  for (int32_t s : in) slots.push_back(SlotId(s));
  return slots;
}

struct InstructionWriter {
  proto::Instruction* out;
  void operator()(const RunInstruction& run) const {
    auto* to = out->mutable_run();
    to->set_program(run.program);
    for (SlotId s : run.inputs) to->add_inputs(s.value());
    for (SlotId s : run.outputs) to->add_outputs(s.value());
    if (run.index != -1) to->set_index(run.index);
  }
  template <typename OverEdge>
  static void Write(const OverEdge& from, proto::Instruction::OverEdge* to) {
    to->set_slot(from.slot.value());
    to->set_edge(from.edge);
  }
  void operator()(const SendInstruction& send) const { Write(send, out->mutable_send()); }
  void operator()(const RecvInstruction& recv) const { Write(recv, out->mutable_recv()); }
  void operator()(const BroadcastInstruction& broadcast) const {
    auto* to = out->mutable_broadcast();
    to->set_slot(broadcast.slot.value());
    to->set_root_position(broadcast.root_position);
    for (int64_t axis : broadcast.mesh_axes) to->add_mesh_axes(axis);
  }
  void operator()(const CollectiveInstruction& collective) const {
    auto* to = out->mutable_collective();
    for (SlotId s : collective.slots) to->add_slots(s.value());
    for (int64_t axis : collective.mesh_axes) to->add_mesh_axes(axis);
    to->set_kind(static_cast<int32_t>(collective.kind));
  }
  void operator()(const AllocInstruction& alloc) const {
    out->mutable_alloc()->set_slot(alloc.slot.value());
    out->mutable_alloc()->set_fill(alloc.fill);
  }
  void operator()(const FreeInstruction& free) const { out->mutable_free()->set_slot(free.slot.value()); }
  void operator()(const LoopInstruction& loop) const {
    out->mutable_loop()->set_count(loop.count);
    for (const Instruction& inner : loop.body)
      std::visit(InstructionWriter{out->mutable_loop()->add_body()}, inner.action);
  }
};

absl::StatusOr<Instruction> ReadInstruction(const proto::Instruction& in, bool in_loop) {
  switch (in.action_case()) {
    case proto::Instruction::kRun:
      return Instruction{RunInstruction{in.run().program(), SlotIds(in.run().inputs()), SlotIds(in.run().outputs()),
                                        in.run().has_index() ? in.run().index() : -1}};
    case proto::Instruction::kSend: return Instruction{SendInstruction{SlotId(in.send().slot()), in.send().edge()}};
    case proto::Instruction::kRecv: return Instruction{RecvInstruction{SlotId(in.recv().slot()), in.recv().edge()}};
    case proto::Instruction::kBroadcast:
      return Instruction{BroadcastInstruction{SlotId(in.broadcast().slot()), in.broadcast().root_position(),
                                              Int64s(in.broadcast().mesh_axes())}};
    case proto::Instruction::kCollective: {
      const int32_t kind = in.collective().kind();
      if (kind < 0 || kind > static_cast<int32_t>(graph::ReduceKind::kProduct)) {
        return InvalidArgument("reduction kind %d is unknown", kind);
      }
      return Instruction{CollectiveInstruction{SlotIds(in.collective().slots()), Int64s(in.collective().mesh_axes()),
                                               static_cast<graph::ReduceKind>(kind)}};
    }
    case proto::Instruction::kAlloc: return Instruction{AllocInstruction{SlotId(in.alloc().slot()), in.alloc().fill()}};
    case proto::Instruction::kFree: return Instruction{FreeInstruction{SlotId(in.free().slot())}};
    case proto::Instruction::kLoop: {
      if (in_loop) return InvalidArgument("a loop contains a loop");
      LoopInstruction loop;
      loop.count = in.loop().count();
      for (const proto::Instruction& inner : in.loop().body()) {
        ALPA_ASSIGN_OR_RETURN(Instruction instruction, ReadInstruction(inner, true));
        loop.body.push_back(std::move(instruction));
      }
      return Instruction{std::move(loop)};
    }
    case proto::Instruction::ACTION_NOT_SET: break;
  }
  return InvalidArgument("an instruction has an unknown kind");
}

}  // namespace

void ToProto(const cluster::Mesh& mesh, proto::Mesh* out) {
  for (int64_t extent : mesh.shape) out->add_shape(extent);
  for (const std::string& name : mesh.axis_names) out->add_axis_names(name);
  for (DeviceId device : mesh.devices) out->add_devices(device.value());
}

absl::StatusOr<cluster::Mesh> FromProto(const proto::Mesh& in) {
  cluster::Mesh mesh;
  mesh.shape = Int64s(in.shape());
  mesh.axis_names = {in.axis_names().begin(), in.axis_names().end()};
  for (int32_t device : in.devices()) mesh.devices.push_back(DeviceId(device));
  ALPA_RETURN_IF_ERROR(cluster::Check(mesh));
  return mesh;
}

void ToProto(const Roles& roles, proto::Roles* out) {
  for (const InputRole& input : roles.inputs) {
    proto::InputRole* to = out->add_inputs();
    to->set_kind(static_cast<proto::InputRole::Kind>(input.kind));
    to->set_path(input.path);
  }
  for (const OutputRole& output : roles.outputs) {
    proto::OutputRole* to = out->add_outputs();
    to->set_kind(static_cast<proto::OutputRole::Kind>(output.kind));
    to->set_path(output.path);
    to->set_state_input(output.state_input);
  }
}

absl::StatusOr<Roles> FromProto(const proto::Roles& in) {
  Roles roles;
  for (const proto::InputRole& input : in.inputs()) {
    ALPA_RETURN_IF_ERROR(CheckPath(input.path()));
    if (!proto::InputRole::Kind_IsValid(input.kind()))
      return InvalidArgument("input %s has unknown kind %d", input.path(), input.kind());
    roles.inputs.push_back({static_cast<InputRole::Kind>(input.kind()), input.path()});
  }
  for (const proto::OutputRole& output : in.outputs()) {
    ALPA_RETURN_IF_ERROR(CheckPath(output.path()));
    if (!proto::OutputRole::Kind_IsValid(output.kind())) {
      return InvalidArgument("output %s has unknown kind %d", output.path(), output.kind());
    }
    const auto kind = static_cast<OutputRole::Kind>(output.kind());
    roles.outputs.push_back({kind, output.path(), kind == OutputRole::Kind::kState ? output.state_input() : -1});
  }
  return roles;
}

void ToProto(const LeafPlacement& placement, proto::LeafPlacement* out) {
  out->set_path(placement.path);
  ToProto(placement.shape, out->mutable_shape());
  for (const RegionPlacement& region : placement.regions) {
    proto::RegionPlacement* to = out->add_regions();
    for (int64_t s : region.region.start) to->mutable_region()->add_start(s);
    for (int64_t s : region.region.size) to->mutable_region()->add_size(s);
    to->set_mesh(region.mesh.value());
    ToProto(region.sharding, to->mutable_sharding());
  }
}

absl::StatusOr<LeafPlacement> FromProto(const proto::LeafPlacement& in) {
  LeafPlacement leaf;
  ALPA_RETURN_IF_ERROR(CheckPath(in.path()));
  leaf.path = in.path();
  ALPA_ASSIGN_OR_RETURN(leaf.shape, FromProto(in.shape()));
  for (const proto::RegionPlacement& from : in.regions()) {
    RegionPlacement region;
    region.region = {Int64s(from.region().start()), Int64s(from.region().size())};
    region.mesh = MeshId(from.mesh());
    ALPA_ASSIGN_OR_RETURN(region.sharding, FromProto(from.sharding()));
    leaf.regions.push_back(std::move(region));
  }
  return leaf;
}

namespace {

void ToProto(const Cut& cut, proto::AxisCut::Cut* out) {
  out->set_leaf(cut.leaf);
  out->set_dim(cut.dim);
  out->set_rank(static_cast<proto::AxisCut::Cut::Rank>(cut.rank));
}

absl::StatusOr<std::vector<Cut>> FromProto(const google::protobuf::RepeatedPtrField<proto::AxisCut::Cut>& in) {
  std::vector<Cut> cuts;
  for (const proto::AxisCut::Cut& cut : in) {
    if (!proto::AxisCut::Cut::Rank_IsValid(cut.rank())) return InvalidArgument("a cut has unknown rank %d", cut.rank());
    cuts.push_back({cut.leaf(), cut.dim(), static_cast<CutRank>(cut.rank())});
  }
  return cuts;
}

void ToProto(const AxisState& state, proto::AxisState* out) {
  out->set_kind(static_cast<proto::AxisState::Kind>(state.kind));
  if (state.split()) {
    out->set_dim(state.dim);
    out->set_outer(state.outer == 1 ? 0 : state.outer);
  }
  if (state.partial()) out->set_reduce(static_cast<int32_t>(state.reduce));
}

absl::StatusOr<AxisState> FromProto(const proto::AxisState& in) {
  if (!proto::AxisState::Kind_IsValid(in.kind()))
    return InvalidArgument("a state along an axis has unknown kind %d", static_cast<int>(in.kind()));
  switch (in.kind()) {
    case proto::AxisState::SPLIT: return AxisState::Split(in.dim(), in.outer() == 0 ? 1 : in.outer());
    case proto::AxisState::PARTIAL:
      if (in.reduce() < 0 || in.reduce() > static_cast<int32_t>(graph::ReduceKind::kProduct)) {
        return InvalidArgument("reduction kind %d is unknown", in.reduce());
      }
      return AxisState::Partial(static_cast<graph::ReduceKind>(in.reduce()));
    default: return AxisState::Replicated();
  }
}

void ToProto(const ValuePin& pin, proto::ValuePin* out) {
  out->set_program(pin.program);
  out->set_value(pin.value);
  ToProto(pin.state, out->mutable_state());
  for (const AxisState& state : pin.operands) ToProto(state, out->add_operands());
}

absl::StatusOr<ValuePin> FromProto(const proto::ValuePin& in) {
  ValuePin pin{in.program(), in.value(), {}, {}};
  ALPA_ASSIGN_OR_RETURN(pin.state, FromProto(in.state()));
  for (const proto::AxisState& operand : in.operands()) {
    ALPA_ASSIGN_OR_RETURN(const AxisState state, FromProto(operand));
    pin.operands.push_back(state);
  }
  return pin;
}

}  // namespace

void ToProto(const Plan& plan, proto::Plan* out) {
  out->set_version(plan.version);
  out->set_program_fingerprint(plan.program_fingerprint);
  for (const cluster::Mesh& mesh : plan.meshes) ToProto(mesh, out->add_meshes());
  out->set_microbatches(plan.microbatches);
  for (const Seed& seed : plan.batch_seeds) {
    proto::Seed* to = out->add_batch_seeds();
    to->set_leaf(seed.leaf);
    to->set_dim(seed.dim);
    to->set_outer(seed.outer == 1 ? 0 : seed.outer);
  }
  out->set_statistics(static_cast<proto::Plan::Statistics>(plan.statistics));
  out->set_schedule(plan.schedule);
  for (int64_t cut : plan.stage_cuts) out->add_stage_cuts(cut);
  out->set_remat(static_cast<proto::Plan::Remat>(plan.remat));
  for (const StagePlan& stage : plan.stages) {
    proto::StagePlan* to = out->add_stages();
    to->set_mesh(stage.mesh.value());
    to->set_data_axis(stage.data_axis);
    for (const AxisCut& axis : stage.axes) {
      proto::AxisCut* cut_axis = to->add_axes();
      cut_axis->set_mesh_axis(axis.mesh_axis);
      for (const Cut& cut : axis.cuts) ToProto(cut, cut_axis->add_cuts());
      for (const Cut& cut : axis.reduce_scatter_along) ToProto(cut, cut_axis->add_truths_along());
      cut_axis->set_shard_truths_from(axis.reduce_scatter_from);
      cut_axis->set_shard_accumulators(axis.shard_accumulators);
      for (const ValuePin& pin : axis.pins) ToProto(pin, cut_axis->add_pins());
    }
    for (const std::optional<Sharding>& sharding : stage.input_shardings) {
      auto* optional = to->add_input_shardings();
      optional->set_present(sharding.has_value());
      if (sharding) ToProto(*sharding, optional->mutable_sharding());
    }
  }
  out->set_predicted_step_seconds(plan.predicted.step_seconds);
  out->set_predicted_peak_device_bytes(plan.predicted.peak_device_memory);
  out->set_origin(plan.origin);
}

absl::StatusOr<Plan> FromProto(const proto::Plan& in) {
  Plan plan;
  plan.version = in.version();
  plan.program_fingerprint = in.program_fingerprint();
  for (const proto::Mesh& mesh : in.meshes()) {
    ALPA_ASSIGN_OR_RETURN(cluster::Mesh read, FromProto(mesh));
    plan.meshes.push_back(std::move(read));
  }
  plan.microbatches = in.microbatches();
  for (const proto::Seed& seed : in.batch_seeds()) {
    plan.batch_seeds.push_back({seed.leaf(), seed.dim(), seed.outer() == 0 ? 1 : seed.outer()});
  }
  if (!proto::Plan::Statistics_IsValid(in.statistics()))
    return InvalidArgument("statistics %d is unknown", in.statistics());
  plan.statistics = static_cast<Statistics>(in.statistics());
  plan.schedule = in.schedule();
  if (!proto::Plan::Remat_IsValid(in.remat()))
    return InvalidArgument("remat %d is unknown", static_cast<int>(in.remat()));
  plan.remat = static_cast<Remat>(in.remat());
  plan.stage_cuts.assign(in.stage_cuts().begin(), in.stage_cuts().end());
  for (const proto::StagePlan& from : in.stages()) {
    StagePlan stage;
    stage.mesh = MeshId(from.mesh());
    stage.data_axis = from.data_axis();
    for (const proto::AxisCut& axis : from.axes()) {
      AxisCut cut_axis{axis.mesh_axis(), {}, axis.shard_truths_from(), axis.shard_accumulators(), {}, {}};
      ALPA_ASSIGN_OR_RETURN(cut_axis.cuts, FromProto(axis.cuts()));
      ALPA_ASSIGN_OR_RETURN(cut_axis.reduce_scatter_along, FromProto(axis.truths_along()));
      for (const proto::ValuePin& from : axis.pins()) {
        ALPA_ASSIGN_OR_RETURN(ValuePin pin, FromProto(from));
        cut_axis.pins.push_back(std::move(pin));
      }
      stage.axes.push_back(std::move(cut_axis));
    }
    for (const auto& optional : from.input_shardings()) {
      if (!optional.present()) {
        stage.input_shardings.emplace_back();
        continue;
      }
      ALPA_ASSIGN_OR_RETURN(Sharding sharding, FromProto(optional.sharding()));
      stage.input_shardings.emplace_back(std::move(sharding));
    }
    plan.stages.push_back(std::move(stage));
  }
  plan.predicted = {in.predicted_step_seconds(), in.predicted_peak_device_bytes()};
  plan.origin = in.origin();
  return plan;
}

void ToProto(const Executable& executable, proto::Executable* out) {
  out->set_plan_fingerprint(executable.plan_fingerprint);
  for (const cluster::Mesh& mesh : executable.meshes) ToProto(mesh, out->add_meshes());
  for (const StageProgram& program : executable.programs) {
    proto::StageProgram* to = out->add_programs();
    to->set_name(program.name);
    to->set_mesh(program.mesh.value());
    graph::ToProto(program.graph, to->mutable_graph());
    for (int32_t alias : program.alias) to->add_alias(alias);
  }
  for (const MeshProgram& list : executable.mesh_programs) {
    proto::MeshProgram* to = out->add_mesh_programs();
    for (const Slot& slot : list.slots) {
      proto::Slot* s = to->add_slots();
      s->set_kind(static_cast<proto::Slot::Kind>(slot.kind));
      ToProto(slot.shape, s->mutable_shape());
      s->set_leaf(slot.leaf);
      s->set_region(slot.region);
    }
    for (const Instruction& instruction : list.instructions) {
      std::visit(InstructionWriter{to->add_instructions()}, instruction.action);
    }
  }
  for (const LeafPlacement& leaf : executable.inputs) ToProto(leaf, out->add_inputs());
  for (bool state : executable.input_is_state) out->add_input_is_state(state);
  for (const LeafPlacement& leaf : executable.outputs) ToProto(leaf, out->add_outputs());
  for (const Edge& edge : executable.edges) {
    proto::Edge* to = out->add_edges();
    ToProto(edge.shape, to->mutable_shape());
    to->set_from_mesh(edge.from_mesh.value());
    to->set_to_mesh(edge.to_mesh.value());
    ToProto(edge.from, to->mutable_from());
    ToProto(edge.to, to->mutable_to());
  }
}

absl::StatusOr<Executable> FromProto(const proto::Executable& in) {
  Executable executable;
  executable.plan_fingerprint = in.plan_fingerprint();
  for (const proto::Mesh& mesh : in.meshes()) {
    ALPA_ASSIGN_OR_RETURN(cluster::Mesh read, FromProto(mesh));
    executable.meshes.push_back(std::move(read));
  }
  for (const proto::StageProgram& from : in.programs()) {
    StageProgram program;
    program.name = from.name();
    program.mesh = MeshId(from.mesh());
    ALPA_ASSIGN_OR_RETURN(program.graph, graph::FromProto(from.graph()));
    program.alias = {from.alias().begin(), from.alias().end()};
    executable.programs.push_back(std::move(program));
  }
  for (const proto::MeshProgram& from : in.mesh_programs()) {
    MeshProgram list;
    if (from.slots_size() > kMaxSlots) return InvalidArgument("a mesh has too many slots: %d", from.slots_size());
    for (const proto::Slot& slot : from.slots()) {
      if (!proto::Slot::Kind_IsValid(slot.kind())) return InvalidArgument("slot kind %d is unknown", slot.kind());
      ALPA_ASSIGN_OR_RETURN(graph::Shape shape, FromProto(slot.shape()));
      list.slots.push_back({static_cast<Slot::Kind>(slot.kind()), std::move(shape), slot.leaf(), slot.region()});
    }
    for (const proto::Instruction& instruction : from.instructions()) {
      ALPA_ASSIGN_OR_RETURN(Instruction read, ReadInstruction(instruction, false));
      list.instructions.push_back(std::move(read));
    }
    executable.mesh_programs.push_back(std::move(list));
  }
  for (const proto::LeafPlacement& leaf : in.inputs()) {
    ALPA_ASSIGN_OR_RETURN(LeafPlacement read, FromProto(leaf));
    executable.inputs.push_back(std::move(read));
  }
  executable.input_is_state = {in.input_is_state().begin(), in.input_is_state().end()};
  for (const proto::LeafPlacement& leaf : in.outputs()) {
    ALPA_ASSIGN_OR_RETURN(LeafPlacement read, FromProto(leaf));
    executable.outputs.push_back(std::move(read));
  }
  if (in.edges_size() > kMaxEdges) return InvalidArgument("the executable has too many edges: %d", in.edges_size());
  for (const proto::Edge& from : in.edges()) {
    Edge edge;
    ALPA_ASSIGN_OR_RETURN(edge.shape, FromProto(from.shape()));
    edge.from_mesh = MeshId(from.from_mesh());
    edge.to_mesh = MeshId(from.to_mesh());
    ALPA_ASSIGN_OR_RETURN(edge.from, FromProto(from.from()));
    ALPA_ASSIGN_OR_RETURN(edge.to, FromProto(from.to()));
    executable.edges.push_back(std::move(edge));
  }
  return executable;
}

uint64_t Fingerprint(const Plan& plan) {
  proto::Plan message;
  ToProto(plan, &message);
  // A prediction does not affect how the plan runs, so the fingerprint ignores it.
  message.clear_predicted_step_seconds();
  message.clear_predicted_peak_device_bytes();
  const std::string bytes = message.SerializeAsString();  // deterministic, because no field is a map
  return XXH64(bytes.data(), bytes.size(), 0);
}

}  // namespace alpa::plan
