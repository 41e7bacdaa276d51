// Conformance tests (rows) for loops, branches and barriers, for programs that return a parameter, and for programs
// that return a value twice.
#include "absl/strings/str_cat.h"
#include "tests/conformance/backend/suite.h"

namespace alpa::conformance {
namespace {

using graph::CompareDirection;

const Shape kCount{DType::kS32, {}};

// Adds the loop `for (i = from; i < limit; ++i) values = body(i, values)`. Returns i and the values after the loop.
std::vector<ValueId> Loop(
    Maker& m, double from, double limit, std::vector<ValueId> values,
    const std::function<std::vector<ValueId>(GraphBuilder&, ValueId, std::vector<ValueId>)>& body) {
  std::vector<ValueId> carried{m.Input(LiteralOf(DType::kS32, {}, {from}))};
  std::vector<Shape> shapes{kCount};
  for (ValueId id : values) {
    carried.push_back(id);
    shapes.push_back(m.shape(id));
  }
  const auto condition = Region(shapes, [=](GraphBuilder& b, std::vector<ValueId> p) {
    return std::vector{b.Compare(CompareDirection::kLt, p[0], b.Scalar(DType::kS32, limit))};
  });
  const auto step = Region(shapes, [=](GraphBuilder& b, std::vector<ValueId> p) {
    std::vector<ValueId> next = body(b, p[0], std::vector<ValueId>(p.begin() + 1, p.end()));
    next.insert(next.begin(), b.Binary(Opcode::kAdd, p[0], b.Scalar(DType::kS32, 1)));
    return next;
  });
  return m.AddAll(Opcode::kWhile, carried, {}, {condition, step});
}

void AddLoops(Rows& rows) {
  for (auto [name, from, limit] : {std::tuple{"none", 5.0, 3.0}, {"one", 2.0, 3.0}, {"many", 0.0, 25.0}}) {
    AddProgram(rows, absl::StrCat("while/trips-", name), [=, name = std::string(name), from = from, limit = limit] {
      Maker m(name);
      const ValueId x = m.Input({DType::kF32, {7, 5}});
      return m.Finish(Loop(m, from, limit, {x}, [](GraphBuilder& b, ValueId i, std::vector<ValueId> v) {
        const ValueId half = b.Binary(Opcode::kMultiply, v[0], b.Full({DType::kF32, {7, 5}}, 0.5));
        const ValueId step = b.Broadcast(b.Convert(i, DType::kF32), {7, 5}, {});
        return std::vector{b.Binary(Opcode::kAdd, half, step)};
      }));
    });
  }
  AddProgram(rows, "while/exchanges-values", [] {
    // Fibonacci numbers: the body exchanges two of its parameters, and passes a third one through unchanged.
    Maker m("swap");
    const ValueId a = m.Input({DType::kS32, {9}}, 0, 3), b = m.Input({DType::kS32, {9}}, 0, 3);
    const ValueId kept = m.Input({DType::kF32, {4}});
    return m.Finish(Loop(m, 0, 11, {a, b, kept}, [](GraphBuilder& b, ValueId, std::vector<ValueId> v) {
      return std::vector{v[1], b.Binary(Opcode::kAdd, v[0], v[1]), v[2]};
    }));
  });
  AddProgram(rows, "while/carries-the-same-value-twice", [] {
    Maker m("same");
    const ValueId x = m.Input({DType::kF32, {6}});
    std::vector<ValueId> results = Loop(m, 0, 4, {x, x}, [](GraphBuilder& b, ValueId, std::vector<ValueId> v) {
      return std::vector{b.Binary(Opcode::kAdd, v[0], v[1]), v[1]};
    });
    results.push_back(x);
    return m.Finish(results);
  });
  AddProgram(rows, "while/scan-writes-rows", [] {
    // A scan: reads row i of the input, updates a carry and writes row i of the output.
    Maker m("scan");
    const ValueId xs = m.Input({DType::kF32, {12, 5}}), carry = m.Input({DType::kF32, {5}});
    const ValueId ys = m->Full({DType::kF32, {12, 5}}, 0);
    return m.Finish(
        Loop(m, 0, 12, {carry, xs, ys},
             [](GraphBuilder& b, ValueId i, std::vector<ValueId> v) {
               const ValueId zero = b.Scalar(DType::kS32, 0);
               const ValueId row = b.Reshape(b.DynamicSlice(v[1], {i, zero}, {1, 5}), {5});
               const ValueId next = b.Unary(Opcode::kTanh, b.Binary(Opcode::kAdd, v[0], row));
               return std::vector{next, v[1], b.DynamicUpdateSlice(v[2], b.Reshape(next, {1, 5}), {i, zero})};
             }),
        Near(64));
  });
  AddProgram(rows, "while/reduces-and-dots-inside", [] {
    Maker m("power");
    const ValueId a = m.Input({DType::kF32, {8, 8}}, 0.1, 1), x = m.Input({DType::kF32, {8}}, 0.5, 1);
    return m.Finish(Loop(m, 0, 6, {a, x},
                         [](GraphBuilder& b, ValueId, std::vector<ValueId> v) {
                           const ValueId y = b.Dot(v[0], v[1], {{}, {}, {1}, {0}}, DType::kF32);
                           const ValueId norm = b.Reduce(y, graph::ReduceKind::kMax, {0});
                           return std::vector{v[0], b.Binary(Opcode::kDivide, y, b.Broadcast(norm, {8}, {}))};
                         }),
                    Normwise(64));
  });
  AddProgram(rows, "while/nested", [] {
    Maker m("nested");
    const ValueId x = m.Input({DType::kS32, {3}}, 0, 5);
    return m.Finish(Loop(m, 0, 4, {x}, [](GraphBuilder& b, ValueId i, std::vector<ValueId> v) {
      const std::vector<Shape> shapes{kCount, {DType::kS32, {3}}, kCount};
      const auto condition = Region(shapes, [](GraphBuilder& r, std::vector<ValueId> p) {
        return std::vector{r.Compare(CompareDirection::kLt, p[0], p[2])};
      });
      const auto body = Region(shapes, [](GraphBuilder& r, std::vector<ValueId> p) {
        const ValueId one = r.Scalar(DType::kS32, 1);
        return std::vector{r.Binary(Opcode::kAdd, p[0], one), r.Binary(Opcode::kAdd, p[1], r.Broadcast(p[0], {3}, {})),
                           p[2]};
      });
      const std::vector<ValueId> inner =
          b.AddOp(Opcode::kWhile, {b.Scalar(DType::kS32, 0), v[0], i}, shapes, {}, {condition, body});
      return std::vector{inner[1]};
    }));
  });
}

void AddBranches(Rows& rows) {
  const Shape shape{DType::kF32, {4, 3}};
  const auto doubled = Region({shape, shape}, [](GraphBuilder& b, std::vector<ValueId> p) {
    return std::vector{b.Binary(Opcode::kAdd, p[0], p[0]), p[1]};
  });
  const auto product = Region({shape, shape}, [](GraphBuilder& b, std::vector<ValueId> p) {
    return std::vector{b.Binary(Opcode::kMultiply, p[0], p[1]), b.Full({DType::kF32, {4, 3}}, 7)};
  });
  const auto crossed = Region({shape, shape}, [](GraphBuilder&, std::vector<ValueId> p) {
    return std::vector{p[1], p[0]};
  });
  for (double which : {1.0, 0.0}) {
    AddProgram(rows, absl::StrCat("conditional/pred-", which), [=] {
      Maker m("pred");
      const ValueId choice = m.Input(LiteralOf(DType::kPred, {}, {which}));
      const ValueId a = m.Input(shape), b = m.Input(shape);
      return m.Finish(m.AddAll(Opcode::kConditional, {choice, a, b}, {}, {doubled, product}));
    });
  }
  for (double which : {0.0, 1.0, 2.0, 3.0, -1.0, -2147483648.0, 2147483647.0}) {
    AddProgram(rows, absl::StrCat("conditional/index", which), [=] {
      Maker m("index");
      const ValueId choice = m.Input(LiteralOf(DType::kS32, {}, {which}));
      const ValueId a = m.Input(shape), b = m.Input(shape);
      return m.Finish(m.AddAll(Opcode::kConditional, {choice, a, b}, {}, {doubled, product, crossed}));
    });
  }
  AddProgram(rows, "conditional/in-a-loop", [=] {
    Maker m("in-a-loop");
    const ValueId a = m.Input(shape), b = m.Input(shape, 0.5, 1.5);
    return m.Finish(Loop(m, 0, 5, {a, b}, [=](GraphBuilder& g, ValueId i, std::vector<ValueId> v) {
      return g.AddOp(Opcode::kConditional, {i, v[0], v[1]}, {shape, shape}, {}, {crossed, doubled, product});
    }));
  });
}

void AddResults(Rows& rows) {
  AddProgram(rows, "results/parameters-and-repeats", [] {
    Maker m("repeats");
    const ValueId a = m.Input({DType::kF32, {5}}), b = m.Input({DType::kS8, {3}}), unused = m.Input({DType::kF32, {2}});
    const ValueId sum = m->Binary(Opcode::kAdd, a, a), constant = m->Scalar(DType::kF32, 3);
    (void)unused;
    return m.Finish({a, sum, b, sum, a, constant, constant});
  });
  AddProgram(rows, "results/read-no-parameter", [] {
    Maker m("none");
    m.Input({DType::kF32, {5}});
    return m.Finish({m->Iota({DType::kS32, {4}}, 0)});
  });
  AddProgram(rows, "results/views-of-parameters", [] {
    Maker m("views");
    const ValueId a = m.Input({DType::kF32, {4, 6}});
    return m.Finish({m->Reshape(a, {24}), m->Transpose(a, {1, 0}), m->Slice(a, {1, 0}, {3, 6}),
                     m->Broadcast(a, {2, 4, 6}, {1, 2}), m.Add(Opcode::kCopy, {a})});
  });
  AddProgram(rows, "results/barrier", [] {
    Maker m("barrier");
    const ValueId a = m.Input({DType::kF32, {4}}), b = m.Input({DType::kS32, {2}});
    std::vector<ValueId> r = m.AddAll(Opcode::kOptimizationBarrier, {a, b, a});
    r.push_back(m->Binary(Opcode::kAdd, r[0], r[2]));
    return m.Finish(r);
  });
}

}  // namespace

void AddControlRows(Rows& rows) {
  AddLoops(rows);
  AddBranches(rows);
  AddResults(rows);
}

}  // namespace alpa::conformance
