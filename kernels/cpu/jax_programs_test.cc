// Runs programs that JAX exported (graph/testdata), and compares the results with JAX's. Also tests that training steps
// use no slow kernels.
#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>

#include "graph/import.h"
#include "graph/simplify.h"
#include "gtest/gtest.h"
#include "kernels/cpu/cpu_backend.h"

namespace alpa::kernels::cpu {
namespace {

using graph::DType;

std::string ReadFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
}

struct Case {
  const char* name;
  bool fast;  // no kernel uses the reference evaluator
};

class JaxProgramsTest : public testing::TestWithParam<Case> {};

TEST_P(JaxProgramsTest, ResultsEqualThoseOfJax) {
  const std::string path = std::string("graph/testdata/") + GetParam().name;
  absl::StatusOr<graph::Graph> imported = graph::ImportHlo(ReadFile(path + ".pb"));
  ASSERT_TRUE(imported.ok()) << imported.status();
  const graph::Graph graph = graph::Simplify(*imported);
  const std::unique_ptr<Backend> backend = MakeCpuBackend({.devices = 1, .threads_per_device = 2});
  absl::StatusOr<std::unique_ptr<CompiledProgram>> program = backend->Compile(0, graph, {});
  ASSERT_TRUE(program.ok()) << program.status();
  if (GetParam().fast) {
    for (const KernelTime& kernel : ReadProfile(**program)) EXPECT_NE(kernel.kind, "evaluator") << kernel.where;
  }

  std::vector<std::unique_ptr<Buffer>> buffers;
  auto allocate = [&](graph::ValueId id) {
    buffers.push_back(*backend->Allocate(0, graph.shape(id).bytes()));
    return buffers.back().get();
  };
  std::vector<Buffer*> inputs, outputs;
  const std::string in = ReadFile(path + ".in"), expected = ReadFile(path + ".out");
  size_t at = 0;
  for (graph::ValueId id : graph.parameters()) {
    inputs.push_back(allocate(id));
    const size_t size = static_cast<size_t>(graph.shape(id).bytes());
    ASSERT_LE(at + size, in.size());
    std::memcpy(inputs.back()->data(), in.data() + at, size);
    at += size;
  }
  ASSERT_EQ(at, in.size());
  for (graph::ValueId id : graph.results()) outputs.push_back(allocate(id));
  (*program)->Run(backend->stream(0), inputs, outputs);
  const absl::Status status = backend->stream(0).Record()->Wait();
  ASSERT_TRUE(status.ok()) << status;

  at = 0;
  for (size_t r = 0; r < outputs.size(); ++r) {
    const graph::Shape& shape = graph.shape(graph.results()[r]);
    const size_t size = static_cast<size_t>(shape.bytes());
    ASSERT_LE(at + size, expected.size());
    if (shape.dtype != DType::kF32) {
      EXPECT_EQ(std::memcmp(outputs[r]->data(), expected.data() + at, size), 0) << "result " << r;
    } else {
      std::vector<float> theirs(size / 4), ours(size / 4);
      std::memcpy(theirs.data(), expected.data() + at, size);
      std::memcpy(ours.data(), outputs[r]->data(), size);
      float largest = 0;
      for (float x : theirs) largest = std::max(largest, std::fabs(x));
      for (size_t i = 0; i < ours.size(); ++i)
        EXPECT_NEAR(ours[i], theirs[i], 2e-6f * largest) << "result " << r << ", element " << i;
    }
    at += size;
  }
  EXPECT_EQ(at, expected.size());
}

INSTANTIATE_TEST_SUITE_P(Programs, JaxProgramsTest,
                         testing::Values(Case{"gpt_step", true}, Case{"scan_grad", true}, Case{"gather_scatter", true},
                                         Case{"conditional", true}, Case{"nested_loops", true},
                                         Case{"while_unknown", true}, Case{"conv_grad", false},
                                         Case{"sort_argmax", false}),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace alpa::kernels::cpu
