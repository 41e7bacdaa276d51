// Conformance tests (rows) that run programs with collectives on 1, 2 and 4 devices at the same time. The collectives
// run within one process (fake_collectives.h).
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status.h"
#include "graph/verify.h"
#include "tests/conformance/backend/suite.h"
#include "tests/conformance/fake_collectives.h"
#include "tests/conformance/spmd_evaluate.h"

namespace alpa::conformance {
namespace {

using graph::CollectiveAttrs;
using graph::ReduceKind;

struct Mesh {
  std::vector<int64_t> shape;
  int devices() const {
    int64_t n = 1;
    for (int64_t d : shape) n *= d;
    return static_cast<int>(n);
  }
  int64_t Size(const std::vector<int64_t>& axes) const {
    int64_t n = 1;
    for (int64_t axis : axes) n *= shape[axis];
    return n;
  }
};

// Adds a row that runs the graph of `make(mesh)` on all devices of the mesh at the same time, and then runs it again.
// Each device has different arguments.
void AddSpmd(Rows& rows, const std::string& name, const Mesh& mesh, std::function<Program(const Mesh&)> make) {
  const std::string full = absl::StrCat("collective/", name, "/mesh=", absl::StrJoin(mesh.shape, "x"));
  rows.push_back({full, [=](kernels::Backend& backend) -> absl::Status {
                    const Program program = make(mesh);
                    ALPA_RETURN_IF_ERROR(
                        Annotate(graph::Verify(program.graph, {.allow_collectives = true, .mesh_shape = mesh.shape}),
                                 "the graph of the row is not valid"));
                    std::vector<std::vector<Literal>> arguments(mesh.devices());
                    Random random(full);
                    for (auto& device : arguments) {
                      for (const Literal& literal : program.arguments) {
                        const double bound = IsFloat(literal.shape().dtype) ? 2 : 9;
                        device.push_back(RandomLiteral(literal.shape(), random, -bound, bound));
                      }
                    }
                    ALPA_ASSIGN_OR_RETURN(const auto expected, SpmdEvaluate(program.graph, mesh.shape, arguments));
                    FakeFabric fabric(mesh.shape);
                    std::vector<Loaded> loaded;
                    for (int d = 0; d < mesh.devices(); ++d) {
                      ALPA_ASSIGN_OR_RETURN(
                          Loaded one, Loaded::Load(backend, d, program.graph, arguments[d], {}, &fabric.Provider(d)));
                      loaded.push_back(std::move(one));
                    }
                    std::vector<std::vector<Literal>> first;
                    for (int run = 0; run < 2; ++run) {
                      for (Loaded& one : loaded) one.Start();
                      absl::Status failure;
                      std::vector<std::vector<Literal>> results;
                      for (int d = 0; d < mesh.devices(); ++d) {
                        absl::StatusOr<std::vector<Literal>> result = loaded[d].Finish();
                        if (!result.ok()) {
                          if (failure.ok()) failure = result.status();
                          fabric.Abort(result.status());
                          backend.stream(d).Reset();
                          results.emplace_back();
                          continue;
                        }
                        results.push_back(*std::move(result));
                      }
                      ALPA_RETURN_IF_ERROR(failure);
                      if (run == 0) first = results;
                      for (int d = 0; d < mesh.devices(); ++d) {
                        ALPA_RETURN_IF_ERROR(Annotate(CompareAll(expected[d], results[d], program.tolerances),
                                                      absl::StrCat("device ", d)));
                        if (results[d] != first[d]) return Internal("device %d: the two runs differ", d);
                      }
                    }
                    return absl::OkStatus();
                  }});
}

ValueId Collective(Maker& m, Opcode opcode, ValueId x, CollectiveAttrs attrs, std::vector<int64_t> result_dims) {
  return m.Add(opcode, {x}, std::move(attrs), {}, {Shape{m.shape(x).dtype, std::move(result_dims)}});
}

// Adds rows that test each collective alone. The collectives run over `axes`.
void AddPlain(Rows& rows, const Mesh& mesh, const std::vector<int64_t>& axes) {
  const std::string over = absl::StrCat("/axes=", absl::StrJoin(axes, ","));
  const DType types[] = {DType::kF32, DType::kBF16, DType::kS32, DType::kF64, DType::kU8};
  AddSpmd(rows, "all-reduce" + over, mesh, [=, types = std::vector(std::begin(types), std::end(types))](const Mesh&) {
    Maker m("all-reduce");
    std::vector<ValueId> results;
    std::vector<Tolerance> tolerances;
    for (DType dtype : types) {
      for (ReduceKind kind : {ReduceKind::kSum, ReduceKind::kMax, ReduceKind::kMin}) {
        std::vector<ValueId> operands;
        for (int64_t n : {1, 7, 1000}) operands.push_back(m.Input({dtype, {n}}));
        operands.push_back(m.Input({dtype, {3, 5}}));
        operands.push_back(m.Input({dtype, {}}));
        operands.push_back(m.Input({dtype, {0}}));
        for (ValueId id : m->AllReduce(operands, axes, kind)) {
          results.push_back(id);
          tolerances.push_back(kind == ReduceKind::kSum && IsFloat(dtype) ? Normwise(4) : Exact());
        }
      }
    }
    const ValueId p = m.Input({DType::kPred, {9}});
    for (ReduceKind kind : {ReduceKind::kAnd, ReduceKind::kOr}) {
      results.push_back(m->AllReduce({p}, axes, kind)[0]);
      tolerances.push_back(Exact());
    }
    Program program = m.Finish(results);
    program.tolerances = tolerances;
    return program;
  });
  AddSpmd(rows, "moves" + over, mesh, [=](const Mesh& mesh) {
    Maker m("moves");
    const int64_t n = mesh.Size(axes);
    std::vector<ValueId> results;
    for (DType dtype : {DType::kF32, DType::kBF16, DType::kS8, DType::kPred}) {
      for (int64_t dim = 0; dim < 3; ++dim) {
        std::vector<int64_t> dims{2, 3, 5}, wide = dims;
        wide[dim] *= n;
        results.push_back(
            Collective(m, Opcode::kAllGather, m.Input({dtype, dims}), {.mesh_axes = axes, .dim = dim}, wide));
        for (int64_t to = 0; to < 3; ++to) {
          // The all-to-all splits its operand along `dim` and joins the received blocks along `to`.
          std::vector<int64_t> out = wide;
          out[dim] /= n;
          out[to] *= n;
          results.push_back(Collective(m, Opcode::kAllToAll, m.Input({dtype, wide}),
                                       {.mesh_axes = axes, .dim = dim, .concat_dim = to}, out));
        }
      }
      std::vector<int64_t> ring(n), half(n, -1);
      for (int64_t i = 0; i < n; ++i) ring[i] = (i + 1) % n;
      if (n > 1) half[1] = 0;
      for (const auto& permutation : {ring, half}) {
        results.push_back(Collective(m, Opcode::kCollectivePermute, m.Input({dtype, {7, 3}}),
                                     {.mesh_axes = axes, .permutation = permutation}, {7, 3}));
      }
    }
    results.push_back(m.Add(Opcode::kAxisIndex, {}, CollectiveAttrs{.mesh_axes = axes}, {}, {Shape{DType::kS32, {}}}));
    return m.Finish(results);
  });
  AddSpmd(rows, "reduce-scatter" + over, mesh, [=](const Mesh& mesh) {
    Maker m("reduce-scatter");
    const int64_t n = mesh.Size(axes);
    std::vector<ValueId> results;
    std::vector<Tolerance> tolerances;
    for (DType dtype : {DType::kF32, DType::kBF16, DType::kS32}) {
      for (int64_t dim = 0; dim < 3; ++dim) {
        for (ReduceKind kind : {ReduceKind::kSum, ReduceKind::kMax}) {
          std::vector<int64_t> dims{2, 3, 5}, wide = dims;
          wide[dim] *= n;
          results.push_back(Collective(m, Opcode::kReduceScatter, m.Input({dtype, wide}),
                                       {.mesh_axes = axes, .kind = kind, .dim = dim}, dims));
          tolerances.push_back(kind == ReduceKind::kSum && IsFloat(dtype) ? Normwise(4) : Exact());
        }
      }
    }
    Program program = m.Finish(results);
    program.tolerances = tolerances;
    return program;
  });
}

// Adds rows with collectives between other ops.
void AddMixed(Rows& rows, const Mesh& mesh) {
  const std::vector<int64_t> axes{0};
  AddSpmd(rows, "tensor-parallel-layer", mesh, [=](const Mesh&) {
    // The layer is a column-parallel dot, an activation, a row-parallel dot, a sum over the devices, and a residual
    // addition.
    Maker m("mlp");
    const ValueId x = m.Input({DType::kF32, {6, 8}}), w1 = m.Input({DType::kF32, {8, 12}}),
                  w2 = m.Input({DType::kF32, {12, 8}});
    const ValueId hidden = m->Unary(Opcode::kTanh, m->Dot(x, w1, {{}, {}, {1}, {0}}, DType::kF32));
    const ValueId partial = m->Dot(hidden, w2, {{}, {}, {1}, {0}}, DType::kF32);
    const ValueId sum = m->AllReduce({partial}, axes, ReduceKind::kSum)[0];
    return m.Finish({m->Binary(Opcode::kAdd, x, sum), partial}, Normwise(64));
  });
  AddSpmd(rows, "operand-read-again", mesh, [=](const Mesh&) {
    // An all-reduce may overwrite its operand only if no later op reads the operand and the operand is not a result.
    Maker m("again");
    const ValueId x = m.Input({DType::kS32, {40}}), y = m->Binary(Opcode::kAdd, x, x);
    const std::vector<ValueId> sums = m->AllReduce({y, x, y}, axes, ReduceKind::kSum);
    return m.Finish({y, x, sums[0], sums[1], m->Binary(Opcode::kSubtract, sums[2], y)});
  });
  AddSpmd(rows, "several-in-order", mesh, [=](const Mesh& mesh) {
    Maker m("several");
    ValueId x = m.Input({DType::kF32, {4, 4}});
    const ValueId half = m->Full({DType::kF32, {4, 4}}, 0.25);
    for (int i = 0; i < 5; ++i) {
      const std::vector<int64_t> over = i % 2 == 0 || mesh.shape.size() == 1 ? axes : std::vector<int64_t>{1};
      x = m->Binary(Opcode::kMultiply, m->AllReduce({x}, over, i % 3 == 0 ? ReduceKind::kMax : ReduceKind::kSum)[0],
                    half);
      x = m->Transpose(x, {1, 0});
    }
    return m.Finish({x}, Normwise(32));
  });
  AddSpmd(rows, "axis-index-picks-a-slice", mesh, [=](const Mesh& mesh) {
    Maker m("picks");
    const int64_t n = mesh.Size(axes);
    const ValueId x = m.Input({DType::kF32, {n * 3, 5}});
    const ValueId index =
        m.Add(Opcode::kAxisIndex, {}, CollectiveAttrs{.mesh_axes = axes}, {}, {Shape{DType::kS32, {}}});
    const ValueId start = m->Binary(Opcode::kMultiply, index, m->Scalar(DType::kS32, 3));
    const ValueId mine = m->DynamicSlice(x, {start, m->Scalar(DType::kS32, 0)}, {3, 5});
    return m.Finish({mine, Collective(m, Opcode::kAllGather, mine, {.mesh_axes = axes, .dim = 0}, {n * 3, 5})});
  });
  AddSpmd(rows, "in-a-loop", mesh, [=](const Mesh&) {
    Maker m("loop");
    const Shape count{DType::kS32, {}}, x{DType::kF32, {5, 3}};
    const auto condition = Region({count, x}, [](GraphBuilder& b, std::vector<ValueId> p) {
      return std::vector{b.Compare(graph::CompareDirection::kLt, p[0], b.Scalar(DType::kS32, 4))};
    });
    const auto body = Region({count, x}, [&](GraphBuilder& b, std::vector<ValueId> p) {
      const ValueId sum = b.AllReduce({p[1]}, axes, ReduceKind::kSum)[0];
      return std::vector{b.Binary(Opcode::kAdd, p[0], b.Scalar(DType::kS32, 1)),
                         b.Binary(Opcode::kMultiply, sum, b.Full({DType::kF32, {5, 3}}, 0.25))};
    });
    return m.Finish(m.AddAll(Opcode::kWhile, {m->Scalar(DType::kS32, 0), m.Input(x)}, {}, {condition, body}),
                    Normwise(16));
  });
}

// One device waits in a collective for a peer that never arrives. Aborting the collective group must make the
// collective fail. After Reset, the device must work again.
absl::Status AbortedRow(kernels::Backend& backend) {
  Maker m("aborted");
  const ValueId x = m.Input({DType::kF32, {100}});
  const Program program = m.Finish({m->AllReduce({x}, {0}, ReduceKind::kSum)[0]});
  FakeFabric fabric({2});
  ALPA_ASSIGN_OR_RETURN(Loaded loaded,
                        Loaded::Load(backend, 0, program.graph, program.arguments, {}, &fabric.Provider(0)));
  loaded.Start();
  fabric.Abort(absl::AbortedError("peer lost"));
  const absl::Status status = loaded.Finish().status();
  backend.stream(0).Reset();
  if (status.code() != absl::StatusCode::kAborted) {
    return Internal("an aborted collective returned %s, expected ABORTED", status.ToString());
  }
  Maker n("after");
  const Program after = n.Finish({n.Input({DType::kF32, {3}})});
  return RunOn(backend, 0, after).status();
}

// Without a provider, a program with collectives must return an error and must not crash.
absl::Status NoProviderRow(kernels::Backend& backend) {
  Maker m("none");
  const ValueId x = m.Input({DType::kF32, {4}});
  const Program program = m.Finish({m->AllReduce({x}, {0}, ReduceKind::kSum)[0]});
  absl::StatusOr<std::vector<Literal>> results = RunOn(backend, 0, program);
  return results.ok() ? Internal("a program with a collective ran without a provider") : absl::OkStatus();
}

}  // namespace

void AddCollectiveRows(Rows& rows) {
  AddPlain(rows, {{1}}, {0});
  AddPlain(rows, {{2}}, {0});
  AddPlain(rows, {{4}}, {0});
  for (const std::vector<int64_t>& axes : std::vector<std::vector<int64_t>>{{0}, {1}, {0, 1}, {1, 0}}) {
    AddPlain(rows, {{2, 2}}, axes);
  }
  for (const Mesh& mesh : {Mesh{{1}}, Mesh{{2}}, Mesh{{4}}, Mesh{{2, 2}}}) AddMixed(rows, mesh);
  rows.push_back({"collective/aborted", AbortedRow});
  rows.push_back({"collective/no-provider", NoProviderRow});
}

}  // namespace alpa::conformance
