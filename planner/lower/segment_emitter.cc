#include "planner/lower/segment_emitter.h"

#include <algorithm>
#include <limits>
#include <set>

#include "base/status.h"
#include "planner/lower/local_op.h"

namespace alpa::planner {

using graph::DType;
using graph::Graph;
using graph::GraphBuilder;
using graph::Op;
using graph::Opcode;
using graph::ReduceKind;
using graph::Shape;
using graph::ValueId;

namespace {

constexpr int kNever = std::numeric_limits<int>::max();

// The forms in which a value is needed, and the earliest segment that needs each form.
struct Need {
  int whole = kNever;
  int native = kNever;
  std::vector<std::pair<AxisState, int>> slices;

  void AddSlice(const AxisState& state, int when) {
    for (auto& [known, earliest] : slices) {
      if (known == state) {
        earliest = std::min(earliest, when);
        return;
      }
    }
    slices.emplace_back(state, when);
  }
  bool any() const { return whole != kNever || native != kNever || !slices.empty(); }
};

// Finds constants and values that are cheap to compute from constants. Each program recomputes them instead of
// importing them.
std::vector<bool> FindRematerialisable(const Graph& program) {
  std::vector<bool> cheap(program.values().size(), false);
  for (const Op& op : program.ops()) {
    bool is_cheap = false;
    switch (op.opcode) {
      case Opcode::kConstant: case Opcode::kIota: is_cheap = true; break;
      case Opcode::kBroadcast: case Opcode::kReshape: case Opcode::kConvert: case Opcode::kTranspose:
      case Opcode::kSlice: case Opcode::kCopy:
        is_cheap = cheap[op.operands[0].value()];
        break;
      default: break;
    }
    for (ValueId v : op.results) cheap[v.value()] = is_cheap;
  }
  return cheap;
}

class Emitter {
 public:
  Emitter(const Graph& program, const plan::Roles& roles, const AxisAnalysis& analysis, const AxisLayout& layout,
          const SegmentRequest& request)
      : program_(program), roles_(roles), analysis_(analysis), layout_(layout), request_(request),
        context_(analysis.Context(program)), loop_program_(request.first == request.last && request.first % 2 == 1),
        all_in_one_(request.first == 0 && request.last == 2 * analysis.loops),
        rematerialisable_(FindRematerialisable(program)), needs_(program.values().size()),
        whole_(program.values().size()), native_(program.values().size()) {}

  SegmentProgram Run() {
    FindNeeds();
    Emit();
    Finish();
    out_.graph = builder_.Build();
    return std::move(out_);
  }

 private:
  const AxisState& state(ValueId v) const { return analysis_.states[v.value()]; }
  Need& need(ValueId v) { return needs_[v.value()]; }

  // ---- Backward sweep: finds the needed forms of each value ----

  bool InSegments(int segment) const { return segment >= request_.first && segment <= request_.last; }

  bool WholeIsHere(ValueId v) const {
    if (!state(v).replicated()) return TruthIsHere(v);
    if (rematerialisable_[v.value()]) return true;
    if (loop_program_) return analysis_.chunk_local[v.value()];
    return analysis_.segment[v.value()] >= 0 && InSegments(2 * analysis_.segment[v.value()]);
  }
  bool TruthIsHere(ValueId v) const {
    if (loop_program_) return analysis_.local[v.value()];
    return analysis_.full_in[v.value()] >= 0 && InSegments(2 * analysis_.full_in[v.value()]);
  }

  void NeedWhole(ValueId v, int when) {
    need(v).whole = std::min(need(v).whole, when);
    if (state(v).replicated() || !TruthIsHere(v)) return;
    // This program computes the full value. A loop program computes it from its own chunk alone. Any other program
    // computes it from the values that the preceding loop produced. If `all_in_one_`, this loop is part of the same
    // program.
    if (loop_program_) {
      NeedNative(v, when);
    } else if (all_in_one_) {
      NeedNative(v, 2 * analysis_.full_in[v.value()] - 1);
      truths_.insert({analysis_.full_in[v.value()], v});
    } else {
      truths_.insert({analysis_.full_in[v.value()], v});
    }
  }
  void NeedNative(ValueId v, int when) { need(v).native = std::min(need(v).native, when); }
  void NeedSlice(ValueId v, const AxisState& slice, int when) {
    if (state(v).replicated()) {
      need(v).AddSlice(slice, when);
    } else {
      NeedWhole(v, when);  // this chunk's slice is cut from the full value
    }
  }

  void FindNeeds() {
    for (ValueId v : request_.full_values) {
      NeedWhole(v, state(v).replicated() ? 2 * analysis_.segment[v.value()] : 2 * analysis_.full_in[v.value()]);
    }
    for (ValueId v : request_.accumulate) NeedNative(v, request_.first);
    if (request_.results) {
      for (size_t r = 0; r < program_.results().size(); ++r) {
        const ValueId v = program_.results()[r];
        if (!analysis_.split_result[r]) {
          NeedWhole(v, request_.last);
        } else if (all_in_one_) {
          NeedNative(v, request_.last);
        }
      }
    }
    for (size_t i = program_.ops().size(); i-- > 0;) FindNeedsOf(program_.ops()[i], analysis_.rules[i]);
  }

  void FindNeedsOf(const Op& op, const OpRule& rule) {
    if (op.opcode == Opcode::kParameter) return;
    if (op.opcode == Opcode::kOptimizationBarrier) {
      for (size_t k = 0; k < op.operands.size(); ++k) PassNeeds(op.operands[k], op.results[k]);
      return;
    }
    int whole = kNever, native = kNever;
    bool here = true;
    for (ValueId v : op.results) {
      const bool replicated = state(v).replicated();
      if (replicated && need(v).whole != kNever) whole = std::min(whole, need(v).whole), here = here && WholeIsHere(v);
      native = std::min(native, need(v).native);
    }
    if (native != kNever) {
      for (size_t k = 0; k < op.operands.size(); ++k) NeedOperand(op.operands[k], rule.operands[k], native);
    }
    if (!state(op.results[0]).replicated()) return;
    Need& first = need(op.results[0]);
    if (op.results.size() == 1 && whole == kNever && !first.slices.empty() && Sinkable(op)) {
      for (const auto& [slice, when] : first.slices) {
        const std::vector<AxisState> operands = *OperandsForSlice(context_, op, slice);
        for (size_t k = 0; k < operands.size(); ++k) {
          if (operands[k].split()) NeedSlice(op.operands[k], operands[k], when);
          else NeedWhole(op.operands[k], when);
        }
      }
      return;
    }
    for (ValueId v : op.results) {
      for (const auto& [slice, when] : need(v).slices) {
        need(v).whole = std::min(need(v).whole, when);
        whole = std::min(whole, when);
        here = here && WholeIsHere(v);
      }
    }
    if (whole == kNever || !here) return;  // not needed, or imported
    for (ValueId v : op.operands) NeedWhole(v, whole);
  }

  // Returns whether all needed slices of the op's result can be computed from slices of its operands.
  bool Sinkable(const Op& op) {
    for (ValueId operand : op.operands) {
      // If an operand is split or partial, the slices are cut from this op's result and not from the operand's full
      // value.
      if (!state(operand).replicated()) return false;
    }
    for (const auto& [slice, when] : need(op.results[0]).slices) {
      if (!OperandsForSlice(context_, op, slice)) return false;
    }
    return true;
  }

  void NeedOperand(ValueId v, const AxisState& wanted, int when) {
    if (!state(v).replicated() && state(v) == wanted) {
      NeedNative(v, when);
    } else if (wanted.split()) {
      NeedSlice(v, wanted, when);
    } else {
      NeedWhole(v, when);
    }
  }

  void PassNeeds(ValueId operand, ValueId result) {
    const Need wanted = need(result);
    if (wanted.native != kNever) NeedNative(operand, wanted.native);
    if (state(result).replicated()) {
      if (wanted.whole != kNever && WholeIsHere(result)) NeedWhole(operand, wanted.whole);
      for (const auto& [slice, when] : wanted.slices) {
        if (wanted.whole == kNever) NeedSlice(operand, slice, when);
      }
    }
  }

  // ---- Forward sweep: writes the ops that compute the needed forms ----

  void Emit() {
    // List the ops with a needed result, sorted by segment and then by program order.
    std::vector<std::pair<int, int>> order;
    for (size_t i = 0; i < program_.ops().size(); ++i) {
      int when = kNever;
      for (ValueId v : program_.ops()[i].results) {
        if (!need(v).any()) continue;
        when = std::min({when, need(v).whole, need(v).native});
        for (const auto& [slice, at] : need(v).slices) when = std::min(when, at);
      }
      if (when != kNever) order.emplace_back(when, static_cast<int>(i));
    }
    std::sort(order.begin(), order.end());
    auto next = truths_.begin();
    auto finish_truths = [&](int until) {
      while (next != truths_.end() && 2 * next->first <= until) {
        const int once = next->first;
        std::vector<ValueId> values;
        for (; next != truths_.end() && next->first == once; ++next) values.push_back(next->second);
        FinishTruths(values);
      }
    };
    for (const auto& [when, index] : order) {
      finish_truths(when);
      EmitOp(program_.ops()[index], analysis_.rules[index]);
    }
    finish_truths(kNever - 1);
  }

  void EmitOp(const Op& op, const OpRule& rule) {
    if (op.opcode == Opcode::kParameter) return;  // the value is imported when an op reads it
    if (op.opcode == Opcode::kOptimizationBarrier) {
      for (size_t k = 0; k < op.operands.size(); ++k) EmitBarrier(op, k);
      return;
    }
    const bool native = std::any_of(op.results.begin(), op.results.end(),
                                    [&](ValueId v) { return need(v).native != kNever; });
    if (native) EmitNative(op, rule);
    if (!state(op.results[0]).replicated()) return;
    const bool whole = std::any_of(op.results.begin(), op.results.end(),
                                   [&](ValueId v) { return need(v).whole != kNever; });
    if (whole) {
      if (std::all_of(op.results.begin(), op.results.end(),
                      [&](ValueId v) { return need(v).whole == kNever || WholeIsHere(v); })) {
        std::vector<ValueId> operands;
        for (ValueId v : op.operands) operands.push_back(Whole(v));
        const std::vector<ValueId> results = builder_.Clone(program_, op, operands);
        for (size_t r = 0; r < results.size(); ++r) whole_[op.results[r].value()] = results[r];
      }
      return;
    }
    for (const auto& [slice, when] : need(op.results[0]).slices) {
      const std::vector<AxisState> wanted = *OperandsForSlice(context_, op, slice);
      std::vector<ValueId> operands;
      for (size_t k = 0; k < wanted.size(); ++k) {
        operands.push_back(wanted[k].split() ? Slice(op.operands[k], wanted[k]) : Whole(op.operands[k]));
      }
      slices_[{op.results[0], slice.dim, slice.outer}] =
          EmitLocalOp(builder_, program_, op, operands, wanted, {slice}, analysis_.chunks, [&] { return Chunk(); })[0];
    }
  }

  void EmitNative(const Op& op, const OpRule& rule) {
    std::vector<ValueId> operands;
    for (size_t k = 0; k < op.operands.size(); ++k) {
      const ValueId v = op.operands[k];
      const AxisState& wanted = rule.operands[k];
      if (!state(v).replicated() && state(v) == wanted) operands.push_back(Native(v));
      else if (wanted.split()) operands.push_back(Slice(v, wanted));
      else if (wanted.partial()) operands.push_back(OnFirstChunk(v, wanted.reduce));
      else operands.push_back(Whole(v));
    }
    const std::vector<ValueId> results = EmitLocalOp(builder_, program_, op, operands, rule.operands, rule.results,
                                                     analysis_.chunks, [&] { return Chunk(); });
    for (size_t r = 0; r < results.size(); ++r) SetNative(op.results[r], results[r]);
  }

  void SetNative(ValueId v, ValueId local) {
    native_[v.value()] = local;
    if (loop_program_ && analysis_.local[v.value()] && need(v).whole != kNever) {
      whole_[v.value()] = LocalStatistic(v, local);
    }
  }

  void EmitBarrier(const Op& op, size_t k) {
    const ValueId from = op.operands[k], to = op.results[k];
    auto barrier = [&](ValueId local) {
      const Shape shape = builder_.shape(local);
      return builder_.AddOp(Opcode::kOptimizationBarrier, {local}, {shape}, {}, {}, program_.location(op))[0];
    };
    const Need& wanted = need(to);
    if (wanted.native != kNever) SetNative(to, barrier(Native(from)));
    if (!state(to).replicated()) return;
    if (wanted.whole != kNever) {
      if (WholeIsHere(to)) whole_[to.value()] = barrier(Whole(from));
      return;
    }
    for (const auto& [slice, when] : wanted.slices) {
      slices_[{to, slice.dim, slice.outer}] = barrier(Slice(from, slice));
    }
  }

  // ---- Access to the forms of a value in this program ----

  ValueId Whole(ValueId v) {
    ValueId& whole = whole_[v.value()];
    if (whole.valid()) return whole;
    const Op& def = program_.def(v);
    if (def.opcode == Opcode::kParameter && state(v).replicated()) {
      whole = Leaf(def.as<graph::ParameterAttrs>().index);
    } else {
      whole = ImportValue(Import::Kind::kFull, v, program_.shape(v));
    }
    return whole;
  }

  ValueId Native(ValueId v) {
    ValueId& native = native_[v.value()];
    if (native.valid()) return native;
    const Op& def = program_.def(v);
    ALPA_CHECK(def.opcode == Opcode::kParameter && state(v).split());
    native = Leaf(def.as<graph::ParameterAttrs>().index);
    if (layout_.microbatch_major) return native = SliceChunk(builder_, native, state(v), analysis_.chunks, Chunk());
    if (!all_in_one_) native = SliceChunk(builder_, native, state(v), layout_.microbatches, LoopIndex());
    return native;
  }

  ValueId Slice(ValueId v, const AxisState& slice) {
    ValueId& local = slices_[{v, slice.dim, slice.outer}];
    if (!local.valid()) local = SliceChunk(builder_, Whole(v), slice, analysis_.chunks, Chunk());
    return local;
  }

  // Returns a replicated value as a term of a reduction: the value on the first chunk, the identity on all others.
  ValueId OnFirstChunk(ValueId v, ReduceKind kind) {
    const ValueId whole = Whole(v);
    const bool idempotent = kind != ReduceKind::kSum && kind != ReduceKind::kProduct;
    if (idempotent || (kind == ReduceKind::kSum && analysis_.zero[v.value()])) return whole;
    const Shape shape = builder_.shape(whole);
    const ValueId first = builder_.Compare(graph::CompareDirection::kEq, Chunk(), builder_.Scalar(DType::kS32, 0));
    const ValueId identity =
        builder_.Broadcast(builder_.Constant(graph::ReduceIdentity(kind, shape.dtype)), shape.dims, {});
    return builder_.Select(builder_.Broadcast(first, shape.dims, {}), whole, identity);
  }

  ValueId Leaf(int64_t parameter) {
    const ValueId v = program_.parameters()[parameter];
    Shape shape = program_.shape(v);
    if (!layout_.microbatch_major) shape.dims = ChunkDims(shape.dims, state(v), layout_.devices);
    return ImportValue(Import::Kind::kLeaf, ValueId(static_cast<int32_t>(parameter)), shape);
  }

  ValueId ImportValue(Import::Kind kind, ValueId index, const Shape& shape) {
    const Import import{kind, index.value()};
    auto [it, added] = imported_.try_emplace(import);
    if (added) {
      it->second = builder_.Parameter(shape);
      out_.imports.push_back(import);
    }
    return it->second;
  }

  ValueId LoopIndex() { return ImportValue(Import::Kind::kLoopIndex, ValueId(), {DType::kS32, {}}); }

  ValueId DeviceIndex() {
    if (device_index_.valid()) return device_index_;
    if (layout_.devices == 1) return device_index_ = builder_.Scalar(DType::kS32, 0);
    graph::CollectiveAttrs attrs;
    attrs.mesh_axes = layout_.mesh_axes;
    return device_index_ = builder_.AddOp(Opcode::kAxisIndex, {}, {{DType::kS32, {}}}, attrs)[0];
  }

  ValueId Chunk() {
    if (chunk_.valid()) return chunk_;
    chunk_ = DeviceIndex();
    if (all_in_one_) return chunk_;
    ValueId major = chunk_, minor = LoopIndex();
    if (layout_.microbatch_major) std::swap(major, minor);
    const int64_t minor_size = layout_.microbatch_major ? layout_.devices : layout_.microbatches;
    major = builder_.Binary(Opcode::kMultiply, major, builder_.Scalar(DType::kS32, static_cast<double>(minor_size)));
    return chunk_ = builder_.Binary(Opcode::kAdd, major, minor);
  }

  // ---- Collectives and accumulation over chunks ----

  std::vector<ValueId> AllReduce(std::vector<ValueId> values, ReduceKind kind) {
    if (layout_.devices == 1 || values.empty()) return values;
    return builder_.AllReduce(std::move(values), layout_.mesh_axes, kind);
  }

  // Computes all full values that are needed at the same point, with one all-reduce per kind of reduction.
  void FinishTruths(const std::vector<ValueId>& values) {
    std::map<ReduceKind, std::vector<ValueId>> by_kind;
    for (ValueId v : values) {
      if (state(v).partial()) by_kind[state(v).reduce].push_back(v);
      else whole_[v.value()] = Gathered(v, Accumulated(v));
    }
    for (const auto& [kind, partials] : by_kind) {
      std::vector<ValueId> local;
      for (ValueId v : partials) local.push_back(Accumulated(v));
      const std::vector<ValueId> sums = AllReduce(local, kind);
      for (size_t i = 0; i < partials.size(); ++i) {
        whole_[partials[i].value()] = builder_.Convert(sums[i], program_.shape(partials[i]).dtype);
      }
    }
  }

  // Returns a value as this device accumulated it over all its chunks.
  ValueId Accumulated(ValueId v) {
    if (all_in_one_) return Native(v);
    return ImportValue(Import::Kind::kAccumulated, v, AccumulatorShape(program_, analysis_, layout_, v));
  }

  ValueId Gathered(ValueId v, ValueId mine) {
    const AxisState& split = state(v);
    const Shape& whole = program_.shape(v);
    if (layout_.devices == 1) return builder_.Reshape(mine, whole.dims);
    std::vector<int64_t> factored =
        FactoredDims(ChunkDims(whole.dims, split, layout_.devices), split, layout_.microbatches);
    factored.insert(factored.begin(), 1);
    const ValueId send = builder_.Reshape(mine, factored);
    factored[0] = layout_.devices;
    graph::CollectiveAttrs attrs;
    attrs.mesh_axes = layout_.mesh_axes;
    attrs.dim = 0;
    const ValueId all = builder_.AddOp(Opcode::kAllGather, {send}, {{whole.dtype, factored}}, attrs)[0];
    // Transposes [devices, .., outer, microbatches, inner, ..] to [.., outer, devices, microbatches, inner, ..]. If
    // `microbatch_major`, `microbatches` comes before `devices`.
    std::vector<int64_t> permutation;
    for (int64_t d = 1; d < static_cast<int64_t>(factored.size()); ++d) {
      permutation.push_back(d);
      if (d == split.dim + (layout_.microbatch_major ? 2 : 1)) permutation.push_back(0);
    }
    return builder_.Reshape(builder_.Transpose(all, permutation), whole.dims);
  }

  // Returns a statistic of this microbatch alone: reduced over all devices that hold a part of the microbatch. A sum is
  // scaled as if the microbatch were the whole batch.
  ValueId LocalStatistic(ValueId v, ValueId local) {
    ValueId value = AllReduce({local}, state(v).reduce)[0];
    if (state(v).reduce == ReduceKind::kSum) {
      const Shape shape = builder_.shape(value);
      value = builder_.Binary(Opcode::kMultiply, value,
                              builder_.Full(shape, static_cast<double>(layout_.microbatches)));
    }
    return builder_.Convert(value, program_.shape(v).dtype);
  }

  // ---- Results of the program ----

  void Finish() {
    std::vector<ValueId> results;
    auto add = [&](Export::Kind kind, int32_t index, ValueId value) {
      out_.exports.push_back({kind, index});
      results.push_back(value);
    };
    for (ValueId v : request_.full_values) add(Export::Kind::kFull, v.value(), Whole(v));
    for (ValueId v : request_.accumulate) add(Export::Kind::kAccumulator, v.value(), Accumulate(v));
    if (request_.results) {
      for (size_t r = 0; r < program_.results().size(); ++r) {
        const plan::OutputRole& role = roles_.outputs[r];
        const bool is_state = role.kind == plan::OutputRole::Kind::kState;
        if (analysis_.split_result[r] && !all_in_one_ && !is_state) continue;  // the loop program writes this result
        add(Export::Kind::kResult, static_cast<int32_t>(r), Result(r, is_state ? role.state_input : -1));
      }
    }
    builder_.SetResults(std::move(results));
  }

  ValueId Result(size_t r, int state_input) {
    const ValueId v = program_.results()[r];
    if (analysis_.split_result[r]) return all_in_one_ ? Native(v) : Accumulated(v);
    const ValueId whole = Whole(v);
    if (state_input < 0) return whole;
    const AxisState& placed = state(program_.parameters()[state_input]);
    if (placed.replicated() || layout_.devices == 1 || layout_.microbatch_major) return whole;
    return SliceChunk(builder_, whole, placed, layout_.devices, DeviceIndex());
  }

  ValueId Accumulate(ValueId v) {
    const Shape shape = AccumulatorShape(program_, analysis_, layout_, v);
    const ValueId sum = ImportValue(Import::Kind::kAccumulator, v, shape);
    const ValueId mine = Native(v);
    if (state(v).partial()) {
      switch (state(v).reduce) {
        case ReduceKind::kSum: return builder_.Binary(Opcode::kAdd, sum, mine);
        case ReduceKind::kMax: return builder_.Binary(Opcode::kMaximum, sum, mine);
        case ReduceKind::kMin: return builder_.Binary(Opcode::kMinimum, sum, mine);
        case ReduceKind::kAnd: return builder_.Binary(Opcode::kAnd, sum, mine);
        case ReduceKind::kOr: return builder_.Binary(Opcode::kOr, sum, mine);
        case ReduceKind::kProduct: return builder_.Binary(Opcode::kMultiply, sum, mine);
      }
    }
    const ValueId zero = builder_.Scalar(DType::kS32, 0);
    std::vector<ValueId> starts(shape.rank(), zero);
    const AxisState& split = state(v);
    if (split.outer == 1) {
      const int64_t size = builder_.shape(mine).dims[split.dim];
      starts[split.dim] = builder_.Binary(Opcode::kMultiply, LoopIndex(),
                                          builder_.Scalar(DType::kS32, static_cast<double>(size)));
      return builder_.DynamicUpdateSlice(sum, mine, starts);
    }
    std::vector<int64_t> update = shape.dims;
    update[split.dim + 1] = 1;
    starts[split.dim + 1] = LoopIndex();
    return builder_.DynamicUpdateSlice(sum, builder_.Reshape(mine, update), starts);
  }

  const Graph& program_;
  const plan::Roles& roles_;
  const AxisAnalysis& analysis_;
  const AxisLayout& layout_;
  const SegmentRequest& request_;
  const RuleContext context_;
  const bool loop_program_;
  const bool all_in_one_;
  const std::vector<bool> rematerialisable_;
  std::vector<Need> needs_;
  std::set<std::pair<int, ValueId>> truths_;   // (once segment, value) for each full value that this program completes
  std::vector<ValueId> whole_, native_;        // one entry per value of the original program: its form in this program
  std::map<std::tuple<ValueId, int64_t, int64_t>, ValueId> slices_;
  std::map<Import, ValueId> imported_;
  ValueId device_index_, chunk_;
  GraphBuilder builder_;
  SegmentProgram out_;
};

}  // namespace

SegmentProgram EmitSegments(const Graph& program, const plan::Roles& roles, const AxisAnalysis& analysis,
                            const AxisLayout& layout, const SegmentRequest& request) {
  return Emitter(program, roles, analysis, layout, request).Run();
}

Shape AccumulatorShape(const Graph& program, const AxisAnalysis& analysis, const AxisLayout& layout, ValueId value) {
  Shape shape = program.shape(value);
  const AxisState& state = analysis.states[value.value()];
  if (state.partial()) {
    shape.dtype = Widened(shape.dtype);
    return shape;
  }
  shape.dims = ChunkDims(shape.dims, state, layout.devices);
  if (state.outer > 1) shape.dims = FactoredDims(shape.dims, state, layout.microbatches);
  return shape;
}

}  // namespace alpa::planner
