#include "graph/import.h"

#include <algorithm>
#include <limits>
#include <memory>
#include <optional>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "base/status.h"
#include "graph/builder.h"
#include "graph/import_attributes.h"
#include "graph/import_custom_call.h"
#include "graph/import_loops.h"
#include "graph/import_module.h"
#include "graph/import_shape.h"
#include "graph/scalar_fold.h"
#include "graph/verify.h"

namespace alpa::graph {
namespace {

using internal::At;
using internal::Computation;
using internal::Instruction;
using internal::Module;

using Leaves = std::vector<ValueId>;

class Importer {
 public:
  Importer(const Module& module, const ImportLimits& limits)
      : module_(module), limits_(limits), loops_(module, limits) {}

  absl::StatusOr<Graph> Import() {
    GraphBuilder builder;
    ALPA_ASSIGN_OR_RETURN(const Leaves arguments, AddParameters(module_.entry(), &builder));
    ALPA_ASSIGN_OR_RETURN(Leaves results, Emit({&builder, module_.entry(), arguments, 0, "", ""}));
    builder.SetResults(std::move(results));
    return builder.Build();
  }

 private:
  // One computation that Emit adds to a builder, with its parameters bound to `arguments`.
  struct Scope {
    GraphBuilder* builder;
    int computation;
    const Leaves& arguments;
    int depth;
    std::string prefix;    // op names of the enclosing calls
    std::string position;  // source position of the innermost call
  };
  // One instruction of a scope.
  struct Site {
    const Scope& scope;
    const Computation& computation;
    const Instruction& instruction;
    Leaves operands;  // the leaves of all operands, in order

    const hlo::Instruction& proto() const { return *instruction.proto; }
    GraphBuilder& builder() const { return *scope.builder; }
  };

  absl::Status Charge(int64_t amount) {
    emitted_ += amount;
    if (emitted_ <= limits_.max_instructions) return absl::OkStatus();
    return InvalidArgument(
        "the program has more than %d instructions after calls are inlined and loops are unrolled",
        limits_.max_instructions);
  }

  absl::StatusOr<Leaves> AddParameters(int index, GraphBuilder* builder) {
    const Computation& computation = module_.computation(index);
    Leaves leaves;
    for (int parameter : computation.parameters) {
      const Instruction& instruction = computation.instructions[parameter];
      const auto shapes = internal::LeafShapes(instruction.proto->shape(), limits_);
      if (!shapes.ok())
        return At(shapes.status(), module_, computation, instruction, module_.Location(instruction));
      for (const Shape& shape : *shapes)
        leaves.push_back(builder->Parameter(shape, module_.Location(instruction)));
    }
    return leaves;
  }

  absl::StatusOr<Leaves> Emit(const Scope& scope) {
    const Computation& computation = module_.computation(scope.computation);
    if (scope.depth > limits_.max_nesting) {
      return InvalidArgument(
          "computation \"%s\": calls nest deeper than %d levels (do computations call each other?)",
          internal::Safe(computation.proto->name()), limits_.max_nesting);
    }
    if (computation.parameter_leaves != static_cast<int64_t>(scope.arguments.size())) {
      return InvalidArgument("computation \"%s\" takes %d arrays, but the call passes %d",
                             internal::Safe(computation.proto->name()), computation.parameter_leaves,
                             scope.arguments.size());
    }
    std::vector<Leaves> values(computation.instructions.size());
    for (size_t i = 0; i < computation.instructions.size(); ++i) {
      const Instruction& instruction = computation.instructions[i];
      if (!instruction.live) continue;
      if (absl::Status status = Charge(std::max<int64_t>(1, instruction.leaves)); !status.ok()) return status;
      absl::StatusOr<Leaves> leaves = EmitInstruction(scope, computation, instruction, values);
      if (!leaves.ok()) {
        // The error already names the innermost instruction that failed.
        if (named_) return leaves;
        named_ = true;
        return At(leaves.status(), module_, computation, instruction,
                  module_.Location(instruction, scope.prefix, scope.position));
      }
      values[i] = *std::move(leaves);
    }
    return values[computation.root];
  }

  absl::StatusOr<Leaves> EmitInstruction(const Scope& scope, const Computation& computation,
                                         const Instruction& instruction, const std::vector<Leaves>& values) {
    const std::string& opcode = instruction.proto->opcode();
    // Handle parameters and tuple elements first, because they do not need `site`, which copies their operands.
    if (opcode == "parameter") {
      ALPA_ASSIGN_OR_RETURN(const std::vector<Shape> shapes, ShapesOf(instruction));
      const auto first = scope.arguments.begin() + instruction.parameter_base;
      Leaves leaves(first, first + instruction.leaves);
      for (size_t i = 0; i < leaves.size(); ++i) {
        if (scope.builder->shape(leaves[i]) != shapes[i]) {
          return InvalidArgument("takes %s, but the call passes %s", shapes[i].ToString(),
                                 scope.builder->shape(leaves[i]).ToString());
        }
      }
      return leaves;
    }
    if (opcode == "get-tuple-element") {
      if (instruction.operands.size() != 1)
        return InvalidArgument("has %d operands, but needs 1", instruction.operands.size());
      const Instruction& tuple = computation.instructions[instruction.operands[0]];
      const Leaves& from = values[instruction.operands[0]];
      const int64_t index = instruction.proto->tuple_index();
      if (index < 0 || index >= static_cast<int64_t>(tuple.offsets.size())) {
        return InvalidArgument("reads element %d of a tuple of %d elements", index, tuple.offsets.size());
      }
      const int64_t first = tuple.offsets[index];
      const int64_t last =
          index + 1 < static_cast<int64_t>(tuple.offsets.size()) ? tuple.offsets[index + 1] : tuple.leaves;
      Leaves leaves(from.begin() + first, from.begin() + last);
      ALPA_RETURN_IF_ERROR(CheckDeclared(*scope.builder, instruction, leaves));
      return leaves;
    }
    Site site{scope, computation, instruction, {}};
    int64_t leaves = 0;  // counts the leaves at each read, because an instruction may read one large tuple many times
    for (int operand : instruction.operands) leaves += static_cast<int64_t>(values[operand].size()) - 1;
    ALPA_RETURN_IF_ERROR(Charge(std::max<int64_t>(0, leaves)));
    for (int operand : instruction.operands) {
      site.operands.insert(site.operands.end(), values[operand].begin(), values[operand].end());
    }
    if (opcode == "tuple") {
      ALPA_RETURN_IF_ERROR(CheckDeclared(*scope.builder, instruction, site.operands));
      return site.operands;
    }
    if (opcode == "call") return EmitCall(site);
    if (opcode == "while") return EmitWhile(site);
    if (opcode == "conditional") return EmitConditional(site, values);
    if (opcode == "custom-call") {
      ALPA_ASSIGN_OR_RETURN(const std::vector<Shape> shapes, ShapesOf(instruction));
      return internal::EmitCustomCall(site.proto(), site.operands, shapes, Location(site), site.builder());
    }
    if (opcode == "topk") {
      ALPA_ASSIGN_OR_RETURN(const std::vector<Shape> shapes, ShapesOf(instruction));
      return internal::EmitTopK(site.operands, site.proto().largest(), shapes, Location(site),
                                site.builder());
    }
    if (opcode == "get-dimension-size") return EmitDimensionSize(site);
    return EmitPlain(site);
  }

  absl::StatusOr<std::vector<Shape>> ShapesOf(const Instruction& instruction) const {
    return internal::LeafShapes(instruction.proto->shape(), limits_);
  }
  std::string Location(const Site& site) const {
    return module_.Location(site.instruction, site.scope.prefix, site.scope.position);
  }
  std::string PositionOf(const Site& site) const {
    return module_.Position(site.instruction, site.scope.position);
  }

  absl::Status CheckDeclared(const GraphBuilder& builder, const Instruction& instruction,
                             const Leaves& leaves) const {
    ALPA_ASSIGN_OR_RETURN(const std::vector<Shape> declared, ShapesOf(instruction));
    if (declared.size() != leaves.size()) {
      return InvalidArgument("is declared as %d arrays, but has %d", declared.size(), leaves.size());
    }
    for (size_t i = 0; i < leaves.size(); ++i) {
      if (builder.shape(leaves[i]) != declared[i]) {
        return InvalidArgument("is declared as %s, but is %s", declared[i].ToString(),
                               builder.shape(leaves[i]).ToString());
      }
    }
    return absl::OkStatus();
  }

  const Literal* AsConstant(const GraphBuilder& builder, ValueId value) const {
    const auto* attrs = std::get_if<ConstantAttrs>(&builder.graph().def(value).attrs);
    return attrs == nullptr ? nullptr : &attrs->literal;
  }
  std::optional<Literal> AsKnownScalar(const GraphBuilder& builder, ValueId value) const {
    const Literal* literal = AsConstant(builder, value);
    if (literal == nullptr || !ScalarValue(*literal)) return std::nullopt;
    return *literal;
  }

  // Adds an instruction as one op of the same name.
  absl::StatusOr<Leaves> EmitPlain(const Site& site) {
    const hlo::Instruction& proto = site.proto();
    const absl::StatusOr<Opcode> opcode = ParseOpcode(proto.opcode());
    if (!opcode.ok() || IsCollective(*opcode) || *opcode == Opcode::kAxisIndex) {
      return Unimplemented(
          "is not supported%s",
          opcode.ok() ? ": a program must be written for one device; the planner splits it" : "");
    }
    ALPA_ASSIGN_OR_RETURN(std::vector<Shape> shapes, ShapesOf(site.instruction));
    Attributes attrs;
    if (*opcode == Opcode::kConstant) {
      // The literal is read only once, even if the loop around the constant is unrolled.
      const auto [entry, is_new] = literals_.try_emplace(&site.instruction);
      if (is_new) {
        ALPA_ASSIGN_OR_RETURN(entry->second, internal::ReadLiteral(proto.literal(), limits_));
      }
      attrs = ConstantAttrs{entry->second};
    } else {
      ALPA_ASSIGN_OR_RETURN(attrs, internal::ReadAttributes(*opcode, proto));
    }
    std::vector<std::shared_ptr<const Graph>> regions;
    if (!HasRegions(*opcode) && !site.instruction.called.empty()) {
      return InvalidArgument("calls %d computations, but must call none", site.instruction.called.size());
    }
    for (int called : site.instruction.called) {
      ALPA_ASSIGN_OR_RETURN(std::shared_ptr<const Graph> region, Region(called, site));
      regions.push_back(std::move(region));
    }
    return Add(site, *opcode, site.operands, std::move(shapes), std::move(attrs), std::move(regions));
  }

  static bool HasRegions(Opcode opcode) {
    return opcode == Opcode::kReduce || opcode == Opcode::kReduceWindow || opcode == Opcode::kScatter ||
           opcode == Opcode::kSelectAndScatter || opcode == Opcode::kSort;
  }

  // Checks the shapes and adds the op, or a constant if the op can be computed from known scalars.
  absl::StatusOr<Leaves> Add(const Site& site, Opcode opcode, Leaves operands, std::vector<Shape> declared,
                             Attributes attrs, std::vector<std::shared_ptr<const Graph>> regions) {
    GraphBuilder& builder = site.builder();
    std::vector<Shape> shapes;
    std::vector<const Literal*> literals;
    bool known = !operands.empty();
    for (ValueId operand : operands) {
      shapes.push_back(builder.shape(operand));
      const Literal* literal = known ? AsConstant(builder, operand) : nullptr;
      known = literal != nullptr && literal->shape().rank() == 0;
      literals.push_back(literal);
    }
    ALPA_ASSIGN_OR_RETURN(const std::vector<Shape> inferred,
                          InferShapes(opcode, shapes, attrs, regions, declared));
    if (inferred != declared) {
      return InvalidArgument("is declared as %s, but its operands give %s",
                             declared.empty() ? "nothing" : declared[0].ToString(),
                             inferred.empty() ? "nothing" : inferred[0].ToString());
    }
    if (known && declared.size() == 1) {
      std::optional<Literal> folded = FoldScalar(opcode, attrs, literals, declared[0]);
      if (folded) {
        return builder.AddOp(Opcode::kConstant, {}, std::move(declared), ConstantAttrs{*std::move(folded)},
                             {}, Location(site));
      }
    }
    return builder.AddOp(opcode, std::move(operands), std::move(declared), std::move(attrs),
                         std::move(regions), Location(site));
  }

  absl::StatusOr<Leaves> EmitDimensionSize(const Site& site) {
    if (site.operands.size() != 1 || site.proto().dimensions_size() != 1) {
      return InvalidArgument("needs one operand and one dimension");
    }
    const Shape& shape = site.builder().shape(site.operands[0]);
    const int64_t dim = site.proto().dimensions(0);
    if (dim < 0 || dim >= shape.rank())
      return InvalidArgument("reads the size of dimension %d of %s, which does not exist", dim, shape.ToString());
    return Leaves{
        site.builder().Constant(Literal::Scalar(DType::kS32, static_cast<int32_t>(shape.dims[dim])))};
  }

  absl::StatusOr<Leaves> EmitCall(const Site& site) {
    if (site.instruction.called.size() != 1) {
      return InvalidArgument("calls %d computations, but must call 1", site.instruction.called.size());
    }
    const std::string prefix = PrefixOf(site);
    ALPA_ASSIGN_OR_RETURN(Leaves results, Emit({site.scope.builder, site.instruction.called[0], site.operands,
                                                site.scope.depth + 1, prefix, PositionOf(site)}));
    ALPA_RETURN_IF_ERROR(CheckDeclared(site.builder(), site.instruction, results));
    return results;
  }

  std::string PrefixOf(const Site& site) const {
    const std::string name = internal::Safe(site.proto().metadata().op_name());
    if (name.empty()) return site.scope.prefix;
    if (site.scope.prefix.empty() || name.rfind(site.scope.prefix, 0) == 0) return name;
    // Beyond 400 bytes, the prefix is no longer extended, so that locations in deeply nested calls stay short.
    const std::string longer = absl::StrCat(site.scope.prefix, "/", name);
    return longer.size() > 400 ? site.scope.prefix : longer;
  }

  absl::StatusOr<Leaves> EmitWhile(const Site& site) {
    if (site.instruction.called.size() != 2 || site.instruction.operands.size() != 1) {
      return InvalidArgument("calls %d computations with %d operands, but needs 2 computations (body, condition) and "
                             "1 operand",
                             site.instruction.called.size(), site.instruction.operands.size());
    }
    ALPA_RETURN_IF_ERROR(CheckDeclared(site.builder(), site.instruction, site.operands));
    const int body = site.instruction.called[0], condition = site.instruction.called[1];
    const int64_t budget = limits_.max_unrolled_ops - unrolled_ - (unrolling_ ? emitted_ - unroll_start_ : 0);
    const int64_t size = std::max<int64_t>(1, loops_.Size(body));
    if (budget >= size) {
      std::vector<std::optional<Literal>> initial;
      for (ValueId value : site.operands) initial.push_back(AsKnownScalar(site.builder(), value));
      const std::optional<int64_t> trips = loops_.TripCount(site.instruction, initial, budget / size);
      if (trips) return Unroll(site, body, *trips);
    }
    ALPA_ASSIGN_OR_RETURN(std::shared_ptr<const Graph> condition_graph, Region(condition, site));
    ALPA_ASSIGN_OR_RETURN(std::shared_ptr<const Graph> body_graph, Region(body, site));
    ALPA_ASSIGN_OR_RETURN(std::vector<Shape> shapes, ShapesOf(site.instruction));
    return Add(site, Opcode::kWhile, site.operands, std::move(shapes), {},
               {std::move(condition_graph), std::move(body_graph)});
  }

  absl::StatusOr<Leaves> Unroll(const Site& site, int body, int64_t trips) {
    Leaves carried = site.operands;
    const bool outermost = !unrolling_;
    if (outermost) {
      unrolling_ = true;
      unroll_start_ = emitted_;
    }
    const std::string prefix = PrefixOf(site);
    for (int64_t i = 0; i < trips; ++i) {
      ALPA_ASSIGN_OR_RETURN(Leaves next, Emit({site.scope.builder, body, carried, site.scope.depth + 1,
                                               prefix, PositionOf(site)}));
      ALPA_RETURN_IF_ERROR(CheckDeclared(site.builder(), site.instruction, next));
      carried = std::move(next);
    }
    if (outermost) {
      unrolling_ = false;
      unrolled_ += emitted_ - unroll_start_;
    }
    return carried;
  }

  absl::StatusOr<Leaves> EmitConditional(const Site& site, const std::vector<Leaves>& values) {
    const std::vector<int>& branches = site.instruction.called;
    if (branches.empty() || site.instruction.operands.size() != branches.size() + 1 ||
        values[site.instruction.operands[0]].size() != 1) {
      return InvalidArgument("has %d operands for %d branches, but needs 1 scalar choice and 1 operand per branch",
                             site.instruction.operands.size(), branches.size());
    }
    GraphBuilder& builder = site.builder();
    const ValueId choice = values[site.instruction.operands[0]][0];
    if (const std::optional<Literal> known = AsKnownScalar(builder, choice)) {
      const bool predicate = known->shape().dtype == DType::kPred;
      int64_t taken = *ScalarValue(*known);
      if (predicate) taken = taken != 0 ? 0 : 1;
      if (taken < 0 || taken >= static_cast<int64_t>(branches.size()))
        taken = static_cast<int64_t>(branches.size()) - 1;
      if (predicate && branches.size() != 2)
        return InvalidArgument("a pred choice has %d branches, but needs 2", branches.size());
      ALPA_ASSIGN_OR_RETURN(Leaves results,
                            Emit({&builder, branches[taken], values[site.instruction.operands[taken + 1]],
                                  site.scope.depth + 1, PrefixOf(site), PositionOf(site)}));
      ALPA_RETURN_IF_ERROR(CheckDeclared(builder, site.instruction, results));
      return results;
    }
    // Every branch takes the operands of all branches as parameters.
    Leaves operands = {choice};
    absl::flat_hash_map<ValueId, size_t> position;
    for (size_t b = 0; b < branches.size(); ++b) {
      for (ValueId value : values[site.instruction.operands[b + 1]]) {
        if (position.try_emplace(value, operands.size() - 1).second) operands.push_back(value);
      }
    }
    std::vector<std::shared_ptr<const Graph>> regions;
    for (size_t b = 0; b < branches.size(); ++b) {
      ALPA_RETURN_IF_ERROR(Charge(static_cast<int64_t>(operands.size())));
      GraphBuilder region;
      Leaves parameters;
      for (size_t i = 1; i < operands.size(); ++i)
        parameters.push_back(region.Parameter(builder.shape(operands[i])));
      Leaves arguments;
      for (ValueId value : values[site.instruction.operands[b + 1]])
        arguments.push_back(parameters[position[value]]);
      ALPA_ASSIGN_OR_RETURN(Leaves results, Emit({&region, branches[b], arguments, site.scope.depth + 1,
                                                  PrefixOf(site), PositionOf(site)}));
      region.SetResults(std::move(results));
      regions.push_back(std::make_shared<const Graph>(region.Build()));
    }
    ALPA_ASSIGN_OR_RETURN(std::vector<Shape> shapes, ShapesOf(site.instruction));
    return Add(site, Opcode::kConditional, std::move(operands), std::move(shapes), {}, std::move(regions));
  }

  // Returns a computation as a closed graph. All ops that use the computation share this graph. The locations in the
  // graph name the enclosing calls of the op that used the computation first.
  absl::StatusOr<std::shared_ptr<const Graph>> Region(int computation, const Site& user) {
    if (const auto found = regions_.find(computation); found != regions_.end()) return found->second;
    GraphBuilder builder;
    ALPA_ASSIGN_OR_RETURN(const Leaves arguments, AddParameters(computation, &builder));
    ALPA_ASSIGN_OR_RETURN(Leaves results, Emit({&builder, computation, arguments, user.scope.depth + 1,
                                                PrefixOf(user), PositionOf(user)}));
    builder.SetResults(std::move(results));
    auto region = std::make_shared<const Graph>(builder.Build());
    regions_[computation] = region;
    return region;
  }

  const Module& module_;
  const ImportLimits& limits_;
  internal::LoopAnalysis loops_;
  absl::flat_hash_map<int, std::shared_ptr<const Graph>> regions_;
  absl::flat_hash_map<const Instruction*, Literal> literals_;
  int64_t emitted_ = 0;
  int64_t unrolled_ = 0;  // instructions that the finished unrolled loops have added
  bool unrolling_ = false;
  int64_t unroll_start_ = 0;  // the value of emitted_ when the outermost loop that is being unrolled began
  bool named_ = false;        // whether the error already names its instruction
};

}  // namespace

absl::StatusOr<Graph> ImportHlo(absl::string_view serialized_module, const ImportLimits& limits) {
  hlo::Module proto;
  if (serialized_module.size() > static_cast<size_t>(std::numeric_limits<int>::max()) ||
      !proto.ParseFromArray(serialized_module.data(), static_cast<int>(serialized_module.size()))) {
    return InvalidArgument("not an HLO module: the %d bytes do not parse as HloModuleProto",
                           serialized_module.size());
  }
  ALPA_ASSIGN_OR_RETURN(const Module module, Module::Read(proto, limits));
  ALPA_ASSIGN_OR_RETURN(Graph graph, Importer(module, limits).Import());
  ALPA_RETURN_IF_ERROR(Verify(graph));
  return graph;
}

}  // namespace alpa::graph
