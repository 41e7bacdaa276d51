#include "tests/conformance/program.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status.h"
#include "graph/evaluator.h"
#include "graph/print.h"
#include "graph/verify.h"

namespace alpa::conformance {
namespace {

// Converts `values` to the type of `shape`. The evaluator converts and rounds them.
Literal Converted(const Shape& shape, const std::vector<double>& values) {
  std::vector<std::byte> bytes(values.size() * sizeof(double));
  if (!values.empty()) std::memcpy(bytes.data(), values.data(), bytes.size());
  Literal wide(Shape{DType::kF64, shape.dims}, std::move(bytes));
  if (shape.dtype == DType::kF64) return wide;
  GraphBuilder b;
  const ValueId x = b.Parameter(wide.shape());
  b.SetResults({b.Convert(x, shape.dtype)});
  auto result = graph::Evaluate(b.Build(), std::vector<Literal>{wide});
  ALPA_CHECK(result.ok());
  return (*result)[0];
}

double SmallestNormal(DType dtype) {
  switch (dtype) {
    case DType::kF16:
      return 0x1p-14;
    case DType::kF64:
      return std::numeric_limits<double>::min();
    default:
      return std::numeric_limits<float>::min();
  }
}

}  // namespace

Random::Random(absl::string_view name) : state_(0xcbf29ce484222325u) {
  for (unsigned char c : name) state_ = (state_ ^ c) * 0x100000001b3u;
}

uint64_t Random::Bits() {
  uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

Literal RandomLiteral(const Shape& shape, Random& random, double low, double high) {
  std::vector<double> values(shape.elements());
  for (double& v : values) {
    if (shape.dtype == DType::kPred)
      v = static_cast<double>(random.Below(2));
    else if (IsFloat(shape.dtype))
      v = random.Between(low, high);
    else
      v = std::floor(random.Between(std::ceil(low), std::floor(high) + 1));
  }
  return Converted(shape, values);
}

Literal EdgeLiteral(const Shape& shape, Random& random) {
  if (graph::IsInteger(shape.dtype)) {
    // Half of the elements are random bits, and the other half are edge values.
    const int64_t size = SizeOf(shape.dtype);
    std::vector<std::byte> bytes(shape.bytes());
    for (int64_t i = 0; i < shape.elements(); ++i) {
      const uint64_t least = uint64_t{1} << (size * 8 - 1);
      const uint64_t edges[] = {0, 1, ~uint64_t{0}, least, least - 1, 2, static_cast<uint64_t>(size * 8), 7};
      const uint64_t x = random.OneIn(2) ? edges[random.Below(8)] : random.Bits();
      std::memcpy(bytes.data() + i * size, &x, size);
    }
    return Literal(shape, std::move(bytes));
  }
  constexpr double kInf = std::numeric_limits<double>::infinity();
  const double edges[] = {0.0, -0.0, 1, -1, kInf, -kInf, std::nan(""), 0.5, -0.5, 1.5, 2.5, -2.5, 100, -100, 3, -7};
  std::vector<double> values(shape.elements());
  for (double& v : values) {
    if (shape.dtype == DType::kPred)
      v = static_cast<double>(random.Below(2));
    else
      v = random.OneIn(2) ? edges[random.Below(16)] : random.Between(-4, 4);
  }
  return Converted(shape, values);
}

Literal LiteralOf(DType dtype, std::vector<int64_t> dims, const std::vector<double>& values) {
  Shape shape{dtype, std::move(dims)};
  ALPA_CHECK(shape.elements() == static_cast<int64_t>(values.size()));
  return Converted(shape, values);
}

ValueId Maker::Input(const Shape& shape, double low, double high) {
  return Input(RandomLiteral(shape, random_, low, high));
}
ValueId Maker::EdgeInput(const Shape& shape) { return Input(EdgeLiteral(shape, random_)); }
ValueId Maker::Input(Literal literal) {
  arguments_.push_back(literal);
  return builder_.Parameter(literal.shape());
}

std::vector<ValueId> Maker::AddAll(Opcode opcode, std::vector<ValueId> operands, graph::Attributes attrs,
                                   Regions regions, std::vector<Shape> declared) {
  std::vector<Shape> shapes;
  for (ValueId id : operands) shapes.push_back(builder_.shape(id));
  auto inferred = graph::InferShapes(opcode, shapes, attrs, regions, declared);
  if (!inferred.ok()) {
    fprintf(stderr, "cannot build the test program: op %s: %s\n", std::string(NameOf(opcode)).c_str(),
            inferred.status().ToString().c_str());
  }
  ALPA_CHECK(inferred.ok());
  return builder_.AddOp(opcode, std::move(operands), *inferred, std::move(attrs), std::move(regions));
}

Program Maker::Finish(std::vector<ValueId> results, Tolerance tolerance) {
  Program program;
  program.tolerances.assign(results.size(), tolerance);
  builder_.SetResults(std::move(results));
  program.graph = builder_.Build();
  program.arguments = std::move(arguments_);
  return program;
}

std::shared_ptr<const graph::Graph> Region(
    const std::vector<Shape>& parameters,
    const std::function<std::vector<ValueId>(GraphBuilder&, std::vector<ValueId>)>& body) {
  GraphBuilder b;
  std::vector<ValueId> ids;
  for (const Shape& shape : parameters) ids.push_back(b.Parameter(shape));
  b.SetResults(body(b, ids));
  return std::make_shared<const graph::Graph>(b.Build());
}

double Epsilon(DType dtype) {
  switch (dtype) {
    case DType::kF16:
      return 0x1p-10;
    case DType::kBF16:
      return 0x1p-7;
    case DType::kF32:
      return 0x1p-23;
    case DType::kF64:
      return 0x1p-52;
    default:
      return 0;
  }
}

absl::Status Compare(const Literal& expected, const Literal& actual, const Tolerance& tolerance) {
  if (expected.shape() != actual.shape()) {
    return Internal("the shape is %s, expected %s", actual.shape().ToString(), expected.shape().ToString());
  }
  const Shape& shape = expected.shape();
  const int64_t n = shape.elements(), size = SizeOf(shape.dtype);
  int64_t wrong = 0, first = -1;
  double norm = std::max(tolerance.floor, SmallestNormal(shape.dtype));
  if (tolerance.normwise && IsFloat(shape.dtype)) {
    for (int64_t i = 0; i < n; ++i) {
      const double x = std::fabs(expected.ValueAt(i));
      if (std::isfinite(x)) norm = std::max(norm, x);
    }
  }
  double worst = 0;
  for (int64_t i = 0; i < n; ++i) {
    if (std::memcmp(expected.bytes().data() + i * size, actual.bytes().data() + i * size, size) == 0) continue;
    bool fits = false;
    if (IsFloat(shape.dtype)) {
      const double e = expected.ValueAt(i), a = actual.ValueAt(i);
      const double unit = Epsilon(shape.dtype) * std::max(std::fabs(e), norm);
      if (std::isnan(e) || std::isnan(a))
        fits = std::isnan(e) && std::isnan(a);
      else if (e == a)
        fits = true;
      else if (std::isfinite(e) && std::isfinite(a)) {
        fits = std::fabs(e - a) <= tolerance.ulps * unit + tolerance.absolute;
        if (!fits) worst = std::max(worst, std::fabs(e - a) / unit);
      }
    }
    if (fits) continue;
    if (wrong++ == 0) first = i;
  }
  if (wrong == 0) return absl::OkStatus();
  return Internal(
      "%s: %d of %d elements are off; element %d is %.9g, expected %.9g (worst error %.3g ulps; allowed: %.3g ulps "
      "plus %.3g)",
      shape.ToString(), wrong, n, first, actual.ValueAt(first), expected.ValueAt(first), worst, tolerance.ulps,
      tolerance.absolute);
}

absl::Status CompareAll(const std::vector<Literal>& expected, const std::vector<Literal>& actual,
                        const std::vector<Tolerance>& tolerances) {
  if (expected.size() != actual.size()) return Internal("got %d results, expected %d", actual.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    ALPA_RETURN_IF_ERROR(Annotate(Compare(expected[i], actual[i], tolerances[i]), absl::StrCat("result ", i)));
  }
  return absl::OkStatus();
}

}  // namespace alpa::conformance
