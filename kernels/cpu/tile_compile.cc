// Compiles a fused unit to a register program. First emits the instructions: loads, one or two instructions per op, and
// stores. Then assigns buffers to registers.
#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "kernels/cpu/tile_program.h"

namespace alpa::kernels::cpu {
namespace {

using graph::DType;
using graph::Graph;
using graph::Op;
using graph::Opcode;
using graph::ValueId;
using Register = TileProgram::Register;
using Instruction = TileProgram::Instruction;

class Compiler {
 public:
  Compiler(const Graph& graph, const FusionPlan& plan, const Unit& unit, int threads)
      : g_(graph), plan_(plan), unit_(unit), threads_(threads) {}

  absl::StatusOr<TileProgram> Run() {
    p_.n = unit_.n;
    for (int i : unit_.ops) ALPA_RETURN_IF_ERROR(Emit(i));
    Stores();
    Buffers();
    return std::move(p_);
  }

 private:
  int Root(ValueId id) const { return plan_.root[id.value()]; }
  int DefiningOp(int value) const { return g_.values()[value].op.value(); }

  int NewRegister(Register::Kind kind, int element) {
    Register r;
    r.kind = kind;
    r.element = element;
    p_.registers.push_back(r);
    return static_cast<int>(p_.registers.size()) - 1;
  }
  int NewBuffer(Lane lane) { return NewRegister(Register::Kind::kBuffer, LaneSize(lane)); }

  int EmitPrim(Prim prim, int d, int a, int b = -1, int c = -1) {
    Instruction instruction;
    instruction.prim = prim;
    instruction.d = d;
    instruction.a = a;
    instruction.b = b;
    instruction.c = c;
    p_.instructions.push_back(instruction);
    return d;
  }

  // Returns a register that holds the elements at `slot`. Reads them through `view`, or linearly if `view` is null.
  int Load(int slot, DType dtype, const View* view) {
    const Lane lane = LaneOf(dtype);
    const int element = static_cast<int>(graph::SizeOf(dtype));
    const Prim load = LoadPrim(dtype);
    if (view != nullptr && view->IsScalar()) {
      const int r = NewRegister(Register::Kind::kScalar, LaneSize(lane));
      p_.registers[r].slot = slot;
      p_.registers[r].slot_offset = view->offset * element;
      p_.registers[r].load = load;
      return r;
    }
    int raw;
    if (view == nullptr) {
      raw = NewRegister(Register::Kind::kInput, element);
      p_.registers[raw].slot = slot;
    } else {
      raw = NewRegister(Register::Kind::kBuffer, std::max(element, LaneSize(lane)));
      Instruction instruction;
      instruction.kind = Instruction::Kind::kView;
      instruction.d = raw;
      instruction.index = static_cast<int>(p_.views.size());
      p_.views.push_back({*view, slot, element, view->strides.back() == 1});
      p_.instructions.push_back(instruction);
    }
    return load == nullptr ? raw : EmitPrim(load, NewBuffer(lane), raw);
  }

  int LoadIota(const Op& op) {
    const graph::Shape& shape = g_.shape(op.results[0]);
    const int64_t dim = op.as<graph::DimsAttrs>().dims[0];
    TileProgram::IotaLoad iota;
    iota.dtype = shape.dtype;
    iota.size = std::max<int64_t>(1, shape.dims[dim]);
    for (int64_t d = dim + 1; d < shape.rank(); ++d) iota.inner *= shape.dims[d];
    iota.inner = std::max<int64_t>(1, iota.inner);
    const int r = NewBuffer(LaneOf(shape.dtype));
    Instruction instruction;
    instruction.kind = Instruction::Kind::kIota;
    instruction.d = r;
    instruction.index = static_cast<int>(p_.iotas.size());
    p_.iotas.push_back(iota);
    p_.instructions.push_back(instruction);
    if (const Prim wrap = WrapPrim(shape.dtype)) EmitPrim(wrap, r, r);
    return r;
  }

  // Returns the register of operand `id` in the operand's own type. After some bitcasts, this type differs from that of
  // the operand's root, which is the first value with the same bytes.
  absl::StatusOr<int> Operand(ValueId id, bool scalar) {
    const int root = Root(id);
    const DType dtype = g_.shape(id).dtype;
    const DType root_dtype = g_.values()[root].shape.dtype;
    const auto found = register_of_.find({root, dtype});
    if (found != register_of_.end()) return found->second;
    const int definition = DefiningOp(root);
    const Role role = plan_.roles[definition];
    const bool in_group = std::binary_search(unit_.ops.begin(), unit_.ops.end(), definition) && role == Role::kElement;
    int r;
    if (plan_.recomputed[root] && !in_group) {
      ALPA_RETURN_IF_ERROR(EmitElement(g_.ops()[definition]));
      r = register_of_.at({root, root_dtype});
      if (dtype != root_dtype) r = Reinterpret(r, root_dtype, dtype);
    } else if (in_group) {
      // This group computed the value as another type of the same size. Reinterpret changes the type through a buffer
      // that holds the bytes.
      const int raw = register_of_.at({root, root_dtype});
      r = Reinterpret(raw, root_dtype, dtype);
    } else if (scalar) {
      const View view;
      r = Load(root, dtype, &view);
    } else if (role == Role::kView && root_dtype == dtype) {
      const Op& op = g_.ops()[definition];
      const View view = ViewOf(g_, op);
      r = Load(Root(op.operands[0]), dtype, view.IsLinear() && view.offset == 0 ? nullptr : &view);
    } else if (role == Role::kIota && root_dtype == dtype) {
      r = LoadIota(g_.ops()[definition]);
    } else {
      r = Load(root, dtype, nullptr);
    }
    register_of_[{root, dtype}] = r;
    return r;
  }

  // Returns a register with the same bits in another type. Stores `r` in the memory form of `from`, and loads it as
  // `to`.
  int Reinterpret(int r, DType from, DType to) {
    const Prim store = StorePrim(from), load = LoadPrim(to);
    if (store == nullptr && load == nullptr) return r;
    const int raw = store == nullptr ? r : EmitPrim(store, NewBuffer(LaneOf(from)), r);
    return load == nullptr ? raw : EmitPrim(load, NewBuffer(LaneOf(to)), raw);
  }

  absl::Status Emit(int index) {
    const Op& op = g_.ops()[index];
    const Role role = plan_.roles[index];
    if (role == Role::kReduce) return EmitReduce(op);
    const int value = op.results[0].value();
    const DType dtype = g_.shape(op.results[0]).dtype;
    if (role == Role::kIota) {
      register_of_[{value, dtype}] = LoadIota(op);
    } else {
      ALPA_RETURN_IF_ERROR(EmitElement(op));
    }
    if (plan_.needed[value]) outputs_.push_back(value);
    return absl::OkStatus();
  }

  absl::Status EmitElement(const Op& op) {
    const DType dtype = g_.shape(op.results[0]).dtype;
    int in[3] = {-1, -1, -1};
    for (size_t k = 0; k < op.operands.size(); ++k) {
      const bool scalar = g_.shape(op.operands[k]).elements() == 1 && unit_.n != 1;
      ALPA_ASSIGN_OR_RETURN(in[k], Operand(op.operands[k], scalar));
    }
    const DType operand = g_.shape(op.operands[op.opcode == Opcode::kSelect ? 1 : 0]).dtype;
    int r;
    if (op.opcode == Opcode::kConvert) {
      const Prim prim = ConvertPrim(operand, dtype);
      r = prim == nullptr ? in[0] : EmitPrim(prim, NewBuffer(LaneOf(dtype)), in[0]);
    } else {
      const Prim prim = OpPrim(op, operand);
      if (prim == nullptr)
        return Internal("cannot compile a fused group: %s has no tile loop", std::string(graph::NameOf(op.opcode)));
      r = EmitPrim(prim, NewBuffer(LaneOf(dtype)), in[0], in[1], in[2]);
      if (NeedsWrap(op.opcode, dtype)) EmitPrim(WrapPrim(dtype), r, r);
    }
    register_of_[{op.results[0].value(), dtype}] = r;
    return absl::OkStatus();
  }

  static bool NeedsWrap(Opcode opcode, DType dtype) {
    if (WrapPrim(dtype) == nullptr) return false;
    switch (opcode) {
      case Opcode::kSelect:
      case Opcode::kMaximum:
      case Opcode::kMinimum:
      case Opcode::kClamp:
      case Opcode::kCompare:
      case Opcode::kIsFinite:
        return false;
      default:
        return true;
    }
  }

  absl::Status EmitReduce(const Op& op) {
    TileProgram::Reduction reduction;
    const DType dtype = g_.shape(op.results[0]).dtype;
    const std::optional<ReduceLayout> layout = LayoutOf(g_, op);
    if (!layout.has_value()) return Internal("cannot compile a fused reduction: it has no layout");
    p_.layout = *layout;
    if (layout->order.has_value()) {
      reduction.source = Load(Root(op.operands[0]), dtype, &*layout->order);
    } else {
      ALPA_ASSIGN_OR_RETURN(reduction.source, Operand(op.operands[0], false));
    }
    reduction.slot = op.results[0].value();
    reduction.initial_slot = Root(op.operands[1]);
    reduction.kind = *graph::AsReduceKind(*op.regions[0]);
    if (dtype == DType::kPred) {
      if (reduction.kind == graph::ReduceKind::kSum) reduction.kind = graph::ReduceKind::kOr;
      if (reduction.kind == graph::ReduceKind::kProduct) reduction.kind = graph::ReduceKind::kAnd;
    }
    reduction.dtype = dtype;
    const Lane lane = LaneOf(dtype);
    reduction.lane = LaneSize(lane);
    const bool wide = graph::IsFloat(dtype) &&
                      (reduction.kind == graph::ReduceKind::kSum || reduction.kind == graph::ReduceKind::kProduct);
    reduction.accumulator = wide ? 8 : reduction.lane;
    reduction.row = RowFold(reduction.kind, lane);
    reduction.column = ColumnFold(reduction.kind, lane);
    reduction.partials = p_.shared_bytes;
    const int64_t width = InPieces(p_.layout, threads_) ? kTile : p_.layout.inner;
    p_.shared_bytes += (width * threads_ * reduction.accumulator + 63) / 64 * 64;
    p_.reductions.push_back(reduction);
    return absl::OkStatus();
  }

  // Emits the stores of results that go to memory. If an instruction already produces a result in its memory form, that
  // instruction writes directly to the output.
  void Stores() {
    for (int value : outputs_) {
      const DType dtype = g_.values()[value].shape.dtype;
      const int r = register_of_.at({value, dtype});
      const int element = static_cast<int>(graph::SizeOf(dtype));
      const Prim store = StorePrim(dtype);
      if (store == nullptr && p_.registers[r].kind == Register::Kind::kBuffer && FilledByPrim(r)) {
        p_.registers[r].kind = Register::Kind::kOutput;
        p_.registers[r].slot = value;
        p_.registers[r].element = element;
        continue;
      }
      const int out = NewRegister(Register::Kind::kOutput, element);
      p_.registers[out].slot = value;
      EmitPrim(store != nullptr ? store : CopyPrim(element), out, r);
    }
  }
  // Returns whether an operation fills the register. A view does not count, because its register may point to other
  // memory.
  bool FilledByPrim(int r) const {
    bool filled = false;
    for (const Instruction& i : p_.instructions) {
      if (i.d == r && i.kind == Instruction::Kind::kView) return false;
      filled = filled || i.d == r;
    }
    return filled;
  }
  static Prim CopyPrim(int element) {
    return element == 8
               ? [](int64_t n, void* d, const void* a, const void*, const void*) { __builtin_memmove(d, a, n * 8); }
               : [](int64_t n, void* d, const void* a, const void*, const void*) { __builtin_memmove(d, a, n * 4); };
  }

  // Assigns buffers in the order of the instructions, and reuses them after their last use. Buffers of outputs and
  // scalars are not reused.
  void Buffers() {
    const int64_t tile = std::min<int64_t>(kTile, std::max<int64_t>(p_.n, 1));
    std::vector<int> last(p_.registers.size(), -1);
    for (size_t i = 0; i < p_.instructions.size(); ++i) {
      const Instruction& x = p_.instructions[i];
      for (int r : {x.d, x.a, x.b, x.c}) {
        if (r >= 0) last[r] = static_cast<int>(i);
      }
    }
    const int end = static_cast<int>(p_.instructions.size());
    for (const auto& reduction : p_.reductions) last[reduction.source] = end;
    Bytes top = static_cast<Bytes>((p_.registers.size() * sizeof(void*) + 63) / 64 * 64);
    std::map<int, std::vector<Bytes>> free;  // key: lane size
    auto take = [&](int lane) {
      std::vector<Bytes>& list = free[lane];
      if (!list.empty()) {
        const Bytes at = list.back();
        list.pop_back();
        return at;
      }
      const Bytes at = top;
      top += (tile * lane + 63) / 64 * 64;
      return at;
    };
    for (Register& r : p_.registers) {
      if (r.kind == Register::Kind::kOutput || r.kind == Register::Kind::kScalar) r.buffer = take(r.element);
    }
    for (size_t i = 0; i < p_.instructions.size(); ++i) {
      const Instruction& x = p_.instructions[i];
      Register& d = p_.registers[x.d];
      // Takes the result's buffer before the operands return their buffers. Otherwise, a loop whose operand and result
      // differ in width could overwrite elements of the operand that it has not read yet.
      if (d.kind == Register::Kind::kBuffer && d.buffer < 0) d.buffer = take(d.element);
      for (int r : {x.a, x.b, x.c, x.d}) {
        if (r < 0 || last[r] != static_cast<int>(i)) continue;
        Register& done = p_.registers[r];
        if (done.kind == Register::Kind::kBuffer && done.buffer >= 0) free[done.element].push_back(done.buffer);
        last[r] = -1;  // so that each buffer is returned only once
      }
    }
    p_.thread_bytes = top;
  }

  const Graph& g_;
  const FusionPlan& plan_;
  const Unit& unit_;
  const int threads_;
  TileProgram p_;
  std::map<std::pair<int, DType>, int> register_of_;
  std::vector<int> outputs_;
};

}  // namespace

absl::StatusOr<TileProgram> CompileTiles(const Graph& graph, const FusionPlan& plan, const Unit& unit, int threads) {
  return Compiler(graph, plan, unit, threads).Run();
}

absl::StatusOr<FusedUnit> BuildFused(const Graph& graph, const FusionPlan& plan, const Unit& unit, int scratch_slot,
                                     int threads) {
  ALPA_ASSIGN_OR_RETURN(TileProgram compiled, CompileTiles(graph, plan, unit, threads));
  FusedUnit fused;
  // `linear` lists slots that are read linearly. An output may overwrite such a slot unless `other` also lists it.
  std::vector<int> linear, other;
  for (const Register& r : compiled.registers) {
    if (r.kind == Register::Kind::kInput) linear.push_back(r.slot);
    if (r.kind == Register::Kind::kScalar) other.push_back(r.slot);
    if (r.kind == Register::Kind::kOutput) fused.writes.push_back(r.slot);
  }
  for (const auto& view : compiled.views) other.push_back(view.slot);
  for (const auto& reduction : compiled.reductions) other.push_back(reduction.initial_slot);
  fused.reads = linear;
  fused.reads.insert(fused.reads.end(), other.begin(), other.end());
  std::sort(fused.reads.begin(), fused.reads.end());
  fused.reads.erase(std::unique(fused.reads.begin(), fused.reads.end()), fused.reads.end());
  std::sort(linear.begin(), linear.end());
  linear.erase(std::unique(linear.begin(), linear.end()), linear.end());
  for (int value : fused.writes) {
    std::vector<ShareOption> options;
    for (int read : linear) {
      if (std::find(other.begin(), other.end(), read) != other.end()) continue;
      if (graph.values()[read].shape.bytes() != graph.values()[value].shape.bytes()) continue;
      options.push_back({read, Sharing::kElementwise});
    }
    fused.kernel.shares.push_back(std::move(options));
  }
  for (const auto& reduction : compiled.reductions) fused.writes.push_back(reduction.slot);
  fused.kernel.kind = compiled.reductions.empty() ? "fused" : "fused reduce";
  fused.kernel.scratch = compiled.scratch_bytes(threads);
  auto program = std::make_shared<const TileProgram>(std::move(compiled));
  fused.kernel.run = [program, scratch_slot](const Frame& frame) {
    RunTiles(*program, frame, frame.slots[scratch_slot]);
    return absl::OkStatus();
  };
  return fused;
}

}  // namespace alpa::kernels::cpu
