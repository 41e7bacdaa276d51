#include "planner/lower/lower.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "base/status.h"
#include "graph/simplify.h"
#include "planner/lower/free_temporaries.h"
#include "planner/lower/segment_emitter.h"
#include "planner/microbatch/analysis.h"
#include "planner/partition/axis_pass.h"
#include "planner/stage/stage_pass.h"

namespace alpa::planner {

using graph::DType;
using graph::Graph;
using graph::ReduceKind;
using graph::Shape;
using graph::ValueId;
using plan::Executable;
using plan::Instruction;
using plan::Sharding;
using plan::Slot;
using plan::SlotId;

namespace {

// Returns the initial value of an accumulator.
double IdentityFill(ReduceKind kind, DType dtype) {
  const bool is_float = graph::IsFloat(dtype);
  const int bits = static_cast<int>(8 * graph::SizeOf(dtype));
  const double inf = std::numeric_limits<double>::infinity();
  switch (kind) {
    case ReduceKind::kSum: case ReduceKind::kOr: return 0;
    case ReduceKind::kProduct: return 1;
    case ReduceKind::kAnd: return dtype == DType::kPred ? 1 : graph::IsSigned(dtype) ? -1 : std::ldexp(1.0, bits) - 1;
    case ReduceKind::kMax: return is_float ? -inf : graph::IsSigned(dtype) ? -std::ldexp(1.0, bits - 1) : 0;
    case ReduceKind::kMin:
      return is_float ? inf : dtype == DType::kPred ? 1 : std::ldexp(1.0, graph::IsSigned(dtype) ? bits - 1 : bits) - 1;
  }
  return 0;
}

// Builds the executable of a plan with one stage on one mesh.
class StageLowering {
 public:
  // `in_loops`: if the program allows it, a single microbatch becomes a loop of one iteration. The region of the step
  // (stage/labels.h) is then a separate program.
  StageLowering(const plan::Plan& plan, const Graph& program, const plan::Roles& roles, bool in_loops)
      : plan_(plan), program_(program), roles_(roles), in_loops_(in_loops), stage_(plan.stages[0]),
        mesh_(plan.meshes[stage_.mesh.value()]) {
    layout_.microbatches = plan.microbatches;
    if (stage_.data_axis >= 0) {
      layout_.devices = mesh_.shape[stage_.data_axis];
      layout_.mesh_axes = {stage_.data_axis};
    }
    out_.plan_fingerprint = 0;
    out_.meshes = plan.meshes;
    out_.mesh_programs.resize(plan.meshes.size());
  }

  absl::StatusOr<Executable> Run() {
    AnalysisOptions options;
    options.chunks = layout_.chunks();
    if (options.chunks > 1) options.seeds = plan_.batch_seeds;
    if (options.chunks == 1 && in_loops_) {
      for (int64_t telling : kProbeChunks) {
        if (!CheckSeeds(program_, roles_, plan_.batch_seeds, telling).ok()) continue;
        options.chunks = telling;
        options.seeds = plan_.batch_seeds;
        break;
      }
    }
    options.local_statistics = plan_.statistics == plan::Statistics::kLocal && layout_.microbatches > 1;
    layout_.microbatch_major = plan::MicrobatchesAreContiguous(plan_);
    options.gather_results = layout_.microbatch_major;
    ALPA_RETURN_IF_ERROR(CheckSeeds(program_, roles_, options.seeds, options.chunks));
    analysis_ = Analyse(program_, roles_, options);
    analysis_.chunks = layout_.chunks();
    if (layout_.microbatches > 1 && !analysis_.couplings.empty()) return CouplingError(program_, analysis_);
    if (in_loops_ && layout_.microbatches == 1 && !analysis_.couplings.empty()) {
      options.chunks = 1;
      options.seeds.clear();
      analysis_ = Analyse(program_, roles_, options);
    }
    Place();
    if (layout_.microbatches == 1 && (!in_loops_ || analysis_.loops == 0)) {
      AddRun("step", EmitAll(), body());
    } else {
      LowerLoops();
    }
    return std::move(out_);
  }

 private:
  std::vector<Instruction>& body() { return out_.mesh_programs[stage_.mesh.value()].instructions; }
  std::vector<Slot>& slots() { return out_.mesh_programs[stage_.mesh.value()].slots; }

  // ---- Placement and slot of each leaf ----

  Sharding ShardingOf(const AxisState& state) const {
    if (!state.split() || layout_.devices == 1 || layout_.microbatch_major) return Sharding::Replicated();
    return Sharding::Split(static_cast<int>(state.dim), layout_.mesh_axes[0]);
  }

  plan::LeafPlacement PlaceLeaf(const std::string& path, const Shape& shape, const AxisState& state) const {
    plan::LeafPlacement leaf{path, shape, {}};
    leaf.regions.push_back({{std::vector<int64_t>(shape.rank(), 0), shape.dims}, stage_.mesh, ShardingOf(state)});
    return leaf;
  }

  SlotId AddSlot(Slot::Kind kind, Shape shape, int32_t leaf) {
    slots().push_back({kind, std::move(shape), leaf, 0});
    return SlotId(static_cast<int32_t>(slots().size()) - 1);
  }

  void Place() {
    for (size_t i = 0; i < roles_.inputs.size(); ++i) {
      const ValueId v = program_.parameters()[i];
      const bool is_state = roles_.inputs[i].kind == plan::InputRole::Kind::kState;
      const AxisState& state = analysis_.states[v.value()];
      out_.inputs.push_back(PlaceLeaf(roles_.inputs[i].path, program_.shape(v), state));
      out_.input_is_state.push_back(is_state);
      Shape tile = program_.shape(v);
      tile.dims = plan::TileDims(tile.dims, ShardingOf(state), mesh_);
      leaf_slots_.push_back(AddSlot(is_state ? Slot::Kind::kState : Slot::Kind::kInput, tile, static_cast<int32_t>(i)));
    }
    for (size_t r = 0; r < roles_.outputs.size(); ++r) {
      const ValueId v = program_.results()[r];
      if (roles_.outputs[r].kind == plan::OutputRole::Kind::kState) {
        out_.outputs.push_back({roles_.outputs[r].path, program_.shape(v), {}});
        result_slots_.push_back(leaf_slots_[roles_.outputs[r].state_input]);
        continue;
      }
      const AxisState state = analysis_.split_result[r] ? analysis_.states[v.value()] : AxisState::Replicated();
      out_.outputs.push_back(PlaceLeaf(roles_.outputs[r].path, program_.shape(v), state));
      Shape tile = program_.shape(v);
      tile.dims = plan::TileDims(tile.dims, ShardingOf(state), mesh_);
      result_slots_.push_back(AddSlot(Slot::Kind::kAux, tile, static_cast<int32_t>(r)));
    }
  }

  // ---- Stage programs of the segments ----

  SegmentProgram EmitAll() {
    SegmentRequest request;
    request.last = 2 * analysis_.loops;
    request.results = true;
    return EmitSegments(program_, roles_, analysis_, layout_, request);
  }

  // Writes the programs from the last to the first, because what a program imports, an earlier program must export.
  void LowerLoops() {
    const int loops = analysis_.loops;
    std::vector<std::set<ValueId>> wholes(loops + 1), accumulate(loops);
    for (size_t r = 0; r < program_.results().size(); ++r) {
      if (analysis_.split_result[r]) accumulate[loops - 1].insert(program_.results()[r]);
    }
    std::vector<SegmentProgram> programs(2 * loops + 1);
    for (int segment = 2 * loops; segment >= 0; --segment) {
      const int phase = segment / 2;
      SegmentRequest request;
      request.first = request.last = segment;
      if (segment % 2 == 0) {
        request.full_values.assign(wholes[phase].begin(), wholes[phase].end());
        request.results = phase == loops;
      } else {
        request.accumulate.assign(accumulate[phase].begin(), accumulate[phase].end());
      }
      programs[segment] = EmitSegments(program_, roles_, analysis_, layout_, request);
      for (const Import& import : programs[segment].imports) {
        const ValueId v(import.index);
        if (import.kind == Import::Kind::kAccumulated) {
          accumulate[phase - 1].insert(v);
        } else if (import.kind == Import::Kind::kFull) {
          const int once = analysis_.states[v.value()].replicated() ? analysis_.segment[v.value()]
                                                                    : analysis_.full_in[v.value()];
          ALPA_CHECK(once >= 0 && once <= phase);
          wholes[once].insert(v);
        }
      }
    }
    for (int segment = 0; segment <= 2 * loops; ++segment) {
      if (programs[segment].exports.empty()) continue;
      const int phase = segment / 2;
      if (segment % 2 == 0) {
        const std::string name = phase == loops ? "update" : phase == 0 ? "prologue" : absl::StrCat("between ", phase);
        AddRun(name, std::move(programs[segment]), body());
        continue;
      }
      for (const Export& accumulator : programs[segment].exports) Allocate(ValueId(accumulator.index), phase);
      plan::LoopInstruction loop;
      loop.count = layout_.microbatches;
      phase_ = phase;
      AddRun(loops == 1 ? "microbatch" : absl::StrCat("microbatch ", phase), std::move(programs[segment]), loop.body);
      body().push_back({std::move(loop)});
    }
    FreeTemporaries(out_.mesh_programs[stage_.mesh.value()]);
  }

  void Allocate(ValueId v, int phase) {
    const AxisState& state = analysis_.states[v.value()];
    const Shape shape = AccumulatorShape(program_, analysis_, layout_, v);
    SlotId slot;
    // A split aux output is accumulated directly in the slot that returns it, unless another op needs its full value.
    if (phase == analysis_.loops - 1 && analysis_.full_in[v.value()] != analysis_.loops) {
      for (size_t r = 0; r < program_.results().size() && !slot.valid(); ++r) {
        if (program_.results()[r] == v && analysis_.split_result[r] &&
            roles_.outputs[r].kind == plan::OutputRole::Kind::kAux) {
          slot = result_slots_[r];
        }
      }
    }
    if (!slot.valid()) slot = AddSlot(Slot::Kind::kTemporary, shape, -1);
    accumulator_slots_[{phase, v}] = slot;
    const double fill = state.partial() ? IdentityFill(state.reduce, shape.dtype) : 0;
    body().push_back({plan::AllocInstruction{slot, fill}});
  }

  // ---- Instruction list of the mesh ----

  void AddRun(const std::string& name, SegmentProgram segment, std::vector<Instruction>& instructions) {
    plan::RunInstruction run;
    run.program = static_cast<int32_t>(out_.programs.size());
    for (const Import& import : segment.imports) run.inputs.push_back(SlotOf(import));
    std::vector<int32_t> alias(segment.exports.size(), -1);
    for (size_t i = 0; i < segment.exports.size(); ++i) {
      const SlotId slot = SlotFor(segment.exports[i]);
      run.outputs.push_back(slot);
      const auto input = std::find(run.inputs.begin(), run.inputs.end(), slot);
      if (input != run.inputs.end()) alias[i] = static_cast<int32_t>(input - run.inputs.begin());
    }
    out_.programs.push_back({name, stage_.mesh, graph::Simplify(segment.graph), std::move(alias)});
    instructions.push_back({std::move(run)});
  }

  SlotId SlotOf(const Import& import) {
    switch (import.kind) {
      case Import::Kind::kLeaf: return leaf_slots_[import.index];
      case Import::Kind::kFull: return whole_slots_.at(ValueId(import.index));
      case Import::Kind::kAccumulator: return accumulator_slots_.at({phase_, ValueId(import.index)});
      case Import::Kind::kAccumulated: return accumulator_slots_.at({phase_, ValueId(import.index)});
      case Import::Kind::kLoopIndex: return SlotId();
    }
    return SlotId();
  }

  SlotId SlotFor(const Export& exported) {
    switch (exported.kind) {
      case Export::Kind::kResult: return result_slots_[exported.index];
      case Export::Kind::kAccumulator: return accumulator_slots_.at({phase_, ValueId(exported.index)});
      case Export::Kind::kFull: {
        const ValueId v(exported.index);
        return whole_slots_[v] = AddSlot(Slot::Kind::kTemporary, program_.shape(v), -1);
      }
    }
    return SlotId();
  }

  const plan::Plan& plan_;
  const Graph& program_;
  const plan::Roles& roles_;
  const bool in_loops_;
  const plan::StagePlan& stage_;
  const cluster::Mesh& mesh_;
  AxisLayout layout_;
  AxisAnalysis analysis_;
  int phase_ = 0;   // the phase of the last loop program that was added
  std::vector<SlotId> leaf_slots_;     // one entry per graph parameter
  std::vector<SlotId> result_slots_;   // one entry per graph result
  std::map<ValueId, SlotId> whole_slots_;
  std::map<std::pair<int, ValueId>, SlotId> accumulator_slots_;
  Executable out_;
};

// Returns `plan` reduced to one stage on one mesh. The mesh has only the data axis of the first stage. The axis pass
// cuts all other axes afterwards.
plan::Plan WithoutAxes(const plan::Plan& plan) {
  plan::Plan base = plan;
  plan::StagePlan& stage = base.stages[0];
  cluster::Mesh& mesh = base.meshes[stage.mesh.value()];
  const size_t axes = stage.data_axis < 0 ? 0 : 1;
  mesh.shape.resize(axes);
  mesh.axis_names.resize(axes);
  mesh.devices.resize(axes == 0 ? 1 : mesh.shape[0]);
  stage.axes.clear();
  base.meshes = {mesh};
  stage.mesh = MeshId(0);
  base.stages.resize(1);
  return base;
}

}  // namespace

absl::StatusOr<Executable> LowerInLoops(const plan::Plan& plan, const Graph& program, const plan::Roles& roles) {
  return StageLowering(WithoutAxes(plan), program, roles, true).Run();
}

absl::StatusOr<Staged> LowerStages(const plan::Plan& plan, const Graph& program, const plan::Roles& roles,
                                   const std::vector<double>& shares) {
  StageRequest request;
  request.meshes = plan.meshes;
  request.axes.resize(plan.meshes.size());
  for (const plan::StagePlan& stage : plan.stages) {
    request.mesh_of_stage.push_back(stage.mesh.value());
    request.axes[stage.mesh.value()] = stage.axes;
  }
  request.cuts = plan.stage_cuts;
  request.shares = shares;
  request.remat = plan.remat;
  if (plan.stages.size() > 1) {
    ALPA_ASSIGN_OR_RETURN(request.schedule, ParseSchedule(plan.schedule));
  }
  ALPA_ASSIGN_OR_RETURN(const Executable whole, LowerInLoops(plan, program, roles));
  return CutIntoStages(whole, request);
}

absl::StatusOr<Executable> Lower(const plan::Plan& plan, const Graph& program, const plan::Roles& roles) {
  if (plan::TakesRegionApart(plan)) {
    ALPA_ASSIGN_OR_RETURN(Staged staged, LowerStages(plan, program, roles));
    return std::move(staged.executable);
  }
  ALPA_ASSIGN_OR_RETURN(Executable executable, StageLowering(WithoutAxes(plan), program, roles, false).Run());
  for (const plan::AxisCut& axis : plan.stages[0].axes) {
    ALPA_ASSIGN_OR_RETURN(executable, CutAlongAxis(executable, RequestFor(MeshId(0), plan.meshes[0], axis)));
  }
  return executable;
}

}  // namespace alpa::planner
