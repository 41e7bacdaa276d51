// Conformance tests (rows) for ops that move elements: broadcasts over every set of dimensions, transposes by every
// permutation, odd sizes, clamped start positions.
#include <algorithm>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tests/conformance/backend/suite.h"

namespace alpa::conformance {
namespace {

using graph::DimsAttrs;

// Contains pred, and one other type of each element size.
const DType kWidths[] = {DType::kPred, DType::kS8, DType::kBF16, DType::kF32, DType::kF64};

void AddBroadcastRows(Rows& rows) {
  const std::vector<int64_t> full{2, 3, 1, 5};
  for (int set = 0; set < 16; ++set) {
    std::vector<int64_t> dims, operand;
    for (int64_t d = 0; d < 4; ++d) {
      if (set >> d & 1) {
        dims.push_back(d);
        operand.push_back(full[d]);
      }
    }
    const std::string name = absl::StrCat("movement/broadcast/dims=", absl::StrJoin(dims, ","));
    AddProgram(rows, name, [=] {
      Maker m(name);
      std::vector<ValueId> results;
      for (DType dtype : kWidths) {
        results.push_back(m->Broadcast(m.Input({dtype, operand}), full, dims));
        // Repeats the broadcast with the dimensions of the operand in reverse order.
        std::vector<int64_t> back(dims.rbegin(), dims.rend()), back_sizes(operand.rbegin(), operand.rend());
        results.push_back(m->Broadcast(m.Input({dtype, back_sizes}), full, back));
      }
      return m.Finish(results);
    });
  }
  AddProgram(rows, "movement/broadcast/sizes", [] {
    Maker m("sizes");
    std::vector<ValueId> results;
    for (int64_t n : {0, 1, 7, 31, 64, 1000}) {
      const ValueId scalar = m.Input({DType::kF32, {}}), row = m.Input({DType::kF32, {n}});
      results.push_back(m->Broadcast(scalar, {n}, {}));
      results.push_back(m->Broadcast(row, {n, 3}, {0}));
      results.push_back(m->Broadcast(row, {3, n}, {1}));
    }
    return m.Finish(results);
  });
}

void AddTransposeRows(Rows& rows) {
  std::vector<int64_t> permutation(4);
  std::iota(permutation.begin(), permutation.end(), 0);
  do {
    const std::string name = absl::StrCat("movement/transpose/", absl::StrJoin(permutation, ","));
    AddProgram(rows, name, [=, permutation = permutation] {
      Maker m(name);
      std::vector<ValueId> results;
      for (DType dtype : kWidths) results.push_back(m->Transpose(m.Input({dtype, {3, 4, 5, 7}}), permutation));
      results.push_back(m->Transpose(m.Input({DType::kF32, {2, 0, 5, 1}}), permutation));
      results.push_back(m->Transpose(m.Input({DType::kF32, {1, 17, 1, 33}}), permutation));
      return m.Finish(results);
    });
  } while (std::next_permutation(permutation.begin(), permutation.end()));
  AddProgram(rows, "movement/transpose/matrices", [] {
    Maker m("matrices");
    std::vector<ValueId> results;
    for (auto [r, c] : {std::pair{1, 1000}, {1000, 1}, {31, 64}, {64, 31}, {7, 7}, {65, 129}}) {
      results.push_back(m->Transpose(m.Input({DType::kF32, {r, c}}), {1, 0}));
      results.push_back(m->Transpose(m.Input({DType::kBF16, {r, c}}), {1, 0}));
    }
    results.push_back(m->Transpose(m.Input({DType::kF32, {2, 1, 3, 1, 2, 3}}), {5, 0, 4, 2, 1, 3}));
    return m.Finish(results);
  });
}

void AddSliceRows(Rows& rows) {
  AddProgram(rows, "movement/slice", [] {
    Maker m("slice");
    std::vector<ValueId> results;
    for (DType dtype : kWidths) {
      const ValueId a = m.Input({dtype, {7, 31, 5}});
      results.push_back(m->Slice(a, {0, 0, 0}, {7, 31, 5}));
      results.push_back(m->Slice(a, {2, 3, 1}, {6, 29, 4}));
      results.push_back(m->Slice(a, {1, 0, 0}, {7, 31, 5}, {3, 7, 2}));
      results.push_back(m->Slice(a, {6, 30, 4}, {7, 31, 5}));
      results.push_back(m->Slice(a, {3, 3, 3}, {3, 31, 5}));
      results.push_back(m->Slice(a, {0, 4, 0}, {7, 5, 5}));
    }
    return m.Finish(results);
  });
  AddProgram(rows, "movement/reverse", [] {
    Maker m("reverse");
    std::vector<ValueId> results;
    for (DType dtype : kWidths) {
      const ValueId a = m.Input({dtype, {3, 1, 31}});
      for (const std::vector<int64_t>& dims : std::vector<std::vector<int64_t>>{{}, {0}, {1}, {2}, {0, 2}, {0, 1, 2}}) {
        results.push_back(m.Add(Opcode::kReverse, {a}, DimsAttrs{dims}));
      }
    }
    results.push_back(m.Add(Opcode::kReverse, {m.Input({DType::kF32, {0, 3}})}, DimsAttrs{{0, 1}}));
    return m.Finish(results);
  });
  AddProgram(rows, "movement/concatenate", [] {
    Maker m("concatenate");
    std::vector<ValueId> results;
    for (DType dtype : kWidths) {
      for (int64_t dim = 0; dim < 3; ++dim) {
        std::vector<ValueId> parts;
        for (int64_t size : {1, 0, 4, 7}) {
          std::vector<int64_t> dims{3, 5, 2};
          dims[dim] = size;
          parts.push_back(m.Input({dtype, dims}));
        }
        results.push_back(m->Concatenate(parts, dim));
        results.push_back(m->Concatenate({parts[2]}, dim));
        results.push_back(m->Concatenate({parts[3], parts[3]}, dim));
      }
    }
    return m.Finish(results);
  });
  AddProgram(rows, "movement/reshape", [] {
    Maker m("reshape");
    std::vector<ValueId> results;
    for (DType dtype : kWidths) {
      const ValueId a = m.Input({dtype, {4, 6}}), t = m->Transpose(a, {1, 0});
      results.push_back(m->Reshape(a, {24}));
      results.push_back(m->Reshape(a, {2, 2, 1, 6}));
      results.push_back(m->Reshape(t, {3, 8}));  // a backend may keep the transpose as a view
      results.push_back(m->Reshape(m.Input({dtype, {1, 1}}), {}));
      results.push_back(m->Reshape(m.Input({dtype, {0, 4}}), {2, 0, 3}));
    }
    return m.Finish(results);
  });
}

void AddPadRows(Rows& rows) {
  AddProgram(rows, "movement/pad", [] {
    Maker m("pad");
    std::vector<ValueId> results;
    const std::vector<graph::PadAttrs> cases = {
        {{0, 0}, {0, 0}, {0, 0}},   {{1, 2}, {3, 0}, {0, 0}},    {{0, 0}, {0, 0}, {2, 1}},   {{-1, 0}, {0, -2}, {0, 0}},
        {{-2, 3}, {1, -1}, {1, 2}}, {{-3, -1}, {-1, 0}, {1, 0}}, {{2, -4}, {-1, 2}, {0, 0}}, {{-5, 0}, {0, 0}, {0, 0}},
        {{-5, 0}, {3, 0}, {0, 0}},  {{-4, 1}, {4, 1}, {2, 3}},
    };
    for (DType dtype : kWidths) {
      const ValueId value = m.Input({dtype, {}}, 5, 9);
      for (const graph::PadAttrs& attrs : cases) {
        results.push_back(m.Add(Opcode::kPad, {m.Input({dtype, {5, 6}}), value}, attrs));
      }
      results.push_back(m.Add(Opcode::kPad, {m.Input({dtype, {0}}), value}, graph::PadAttrs{{2}, {1}, {0}}));
      results.push_back(m.Add(Opcode::kPad, {m.Input({dtype, {}}), value}, graph::PadAttrs{}));
    }
    return m.Finish(results);
  });
}

void AddDynamicRows(Rows& rows) {
  AddProgram(rows, "movement/dynamic-slice", [] {
    Maker m("dynamic");
    std::vector<ValueId> results;
    for (DType dtype : kWidths) {
      const ValueId a = m.Input({dtype, {7, 9}});
      for (DType index : {DType::kS32, DType::kS64, DType::kU32}) {
        for (double start : {0.0, 2.0, 100.0, -3.0}) {
          if (index == DType::kU32 && start < 0) continue;
          const ValueId i = m.Input(LiteralOf(index, {}, {start})), j = m.Input(LiteralOf(index, {}, {1}));
          results.push_back(m->DynamicSlice(a, {i, j}, {3, 4}));
          results.push_back(m->DynamicSlice(a, {j, i}, {7, 1}));
          results.push_back(m->DynamicUpdateSlice(a, m.Input({dtype, {3, 4}}), {i, j}));
          results.push_back(m->DynamicUpdateSlice(a, m.Input({dtype, {1, 9}}), {i, i}));
          results.push_back(m->DynamicUpdateSlice(a, m.Input({dtype, {0, 9}}), {i, i}));
        }
      }
    }
    return m.Finish(results);
  });
  AddProgram(rows, "movement/dynamic-update-slice/overlapping-readers", [] {
    // The results contain the arrays before the updates and the arrays after them. The backend must therefore not
    // update in place.
    Maker m("overlap");
    const ValueId a = m.Input({DType::kF32, {8, 8}}), i = m.Input(LiteralOf(DType::kS32, {}, {3}));
    const ValueId old = m->Binary(Opcode::kAdd, a, a);
    const ValueId row = m->DynamicSlice(old, {i, i}, {1, 5});
    const ValueId changed = m->DynamicUpdateSlice(old, row, {m.Input(LiteralOf(DType::kS32, {}, {1})), i});
    const ValueId again = m->DynamicUpdateSlice(changed, row, {i, m.Input(LiteralOf(DType::kS32, {}, {0}))});
    return m.Finish({old, changed, again, row});
  });
}

void AddIotaRows(Rows& rows) {
  AddProgram(rows, "movement/iota", [] {
    Maker m("iota");
    std::vector<ValueId> results;
    for (DType dtype : {DType::kS32, DType::kU8, DType::kS64, DType::kF32, DType::kBF16, DType::kF16, DType::kF64}) {
      for (int64_t dim = 0; dim < 3; ++dim) results.push_back(m->Iota({dtype, {3, 31, 2}}, dim));
      results.push_back(m->Iota({dtype, {0}}, 0));
      results.push_back(m->Iota({dtype, {100}}, 0));
    }
    results.push_back(m->Iota({DType::kBF16, {1000}}, 0));
    return m.Finish(results);
  });
  AddProgram(rows, "movement/constant", [] {
    Maker m("constant");
    std::vector<ValueId> results;
    for (DType dtype : kWidths) {
      results.push_back(m->Constant(RandomLiteral({dtype, {3, 7}}, m.random(), -3, 3)));
      results.push_back(m->Constant(RandomLiteral({dtype, {}}, m.random(), -3, 3)));
      results.push_back(m->Constant(RandomLiteral({dtype, {0}}, m.random(), -3, 3)));
    }
    return m.Finish(results);
  });
}

}  // namespace

void AddMovementRows(Rows& rows) {
  AddBroadcastRows(rows);
  AddTransposeRows(rows);
  AddSliceRows(rows);
  AddPadRows(rows);
  AddDynamicRows(rows);
  AddIotaRows(rows);
}

}  // namespace alpa::conformance
