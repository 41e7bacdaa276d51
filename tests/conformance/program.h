// Builds small test programs. A program has a graph, its arguments, and the tolerances of its results.
//
//   Maker m("softmax");                        // the name seeds the random arguments
//   ValueId x = m.Input({DType::kF32, {4, 8}});
//   Program p = m.Finish({m.Add(Opcode::kExp, {x})}, Near(8));
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "graph/builder.h"
#include "graph/graph.h"

namespace alpa::conformance {

using graph::DType;
using graph::GraphBuilder;
using graph::Literal;
using graph::Opcode;
using graph::Shape;
using graph::ValueId;
using Regions = std::vector<std::shared_ptr<const graph::Graph>>;

// Limits the difference between a float and its expected value. The limit is `ulps` times a spacing, plus `absolute`.
// The spacing is the distance between neighbouring numbers of the type at max(|expected|, floor). With `normwise`, the
// largest finite |expected| of the array replaces |expected|. Infinities must be equal. -0 equals 0, and all NaNs are
// equal. Integers and pred must always be equal.
struct Tolerance {
  double ulps = 0;
  double floor = 0;
  bool normwise = false;
  double absolute = 0;
};
inline Tolerance Exact() { return {}; }
inline Tolerance Near(double ulps, double floor = 0) { return {ulps, floor, false}; }
inline Tolerance Normwise(double ulps) { return {ulps, 0, true}; }

struct Program {
  graph::Graph graph;
  std::vector<Literal> arguments;
  std::vector<Tolerance> tolerances;  // one entry per result
};

// Generates pseudo-random numbers that depend only on the seed (splitmix64).
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  explicit Random(absl::string_view name);
  uint64_t Bits();
  int64_t Below(int64_t n) { return static_cast<int64_t>(Bits() % static_cast<uint64_t>(n)); }
  double Between(double low, double high) { return low + (high - low) * static_cast<double>(Bits() >> 11) * 0x1p-53; }
  bool OneIn(int64_t n) { return Below(n) == 0; }

 private:
  uint64_t state_;
};

// Returns an array of random floats or integers in [low, high]. For pred, the range is ignored.
Literal RandomLiteral(const Shape& shape, Random& random, double low, double high);
// Returns an array of random elements mixed with edge values of the type: zeros, extremes, infinities, NaN, halves.
Literal EdgeLiteral(const Shape& shape, Random& random);
// Returns an array of `values`, converted to `dtype`.
Literal LiteralOf(DType dtype, std::vector<int64_t> dims, const std::vector<double>& values);

// Builds one program. Ends the process if the shapes of an op do not fit, so a test must add only ops whose shapes fit.
class Maker {
 public:
  explicit Maker(absl::string_view seed) : random_(seed) {}

  ValueId Input(const Shape& shape, double low = -2, double high = 2);
  ValueId EdgeInput(const Shape& shape);
  ValueId Input(Literal literal);
  ValueId Add(Opcode opcode, std::vector<ValueId> operands, graph::Attributes attrs = {}, Regions regions = {},
              std::vector<Shape> declared = {}) {
    return AddAll(opcode, std::move(operands), std::move(attrs), std::move(regions), std::move(declared))[0];
  }
  std::vector<ValueId> AddAll(Opcode opcode, std::vector<ValueId> operands, graph::Attributes attrs = {},
                              Regions regions = {}, std::vector<Shape> declared = {});
  GraphBuilder& builder() { return builder_; }
  GraphBuilder* operator->() { return &builder_; }
  Random& random() { return random_; }
  const Shape& shape(ValueId id) { return builder_.shape(id); }

  // Returns the program. `tolerance` applies to all results.
  Program Finish(std::vector<ValueId> results, Tolerance tolerance = {});

 private:
  GraphBuilder builder_;
  std::vector<Literal> arguments_;
  Random random_;
};

// Returns a region. `body` gets the parameters of the region and returns its results.
std::shared_ptr<const graph::Graph> Region(
    const std::vector<Shape>& parameters,
    const std::function<std::vector<ValueId>(GraphBuilder&, std::vector<ValueId>)>& body);

// Returns OK if the difference is allowed, otherwise kInternal. The message reports the number of wrong elements, the
// first wrong element and the largest error. If the shapes differ, it reports the shapes.
absl::Status Compare(const Literal& expected, const Literal& actual, const Tolerance& tolerance);
absl::Status CompareAll(const std::vector<Literal>& expected, const std::vector<Literal>& actual,
                        const std::vector<Tolerance>& tolerances);

// Returns the distance between 1 and the next larger number of a float type. Returns 0 for other types.
double Epsilon(DType dtype);

}  // namespace alpa::conformance
