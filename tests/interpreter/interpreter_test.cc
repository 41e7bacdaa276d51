// Tests the interpreter alone, without lowering: several meshes, and leaves that lie on more than one mesh.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <numeric>

#include "base/status.h"
#include "tests/interpreter/interpreter.h"
#include "worker/testing/executables.h"

namespace alpa::testing {
namespace {

using graph::Literal;
using plan::Sharding;
using worker::Exchange;
using worker::TestMesh;

Literal Make(const graph::Shape& shape, const std::vector<float>& values) {
  std::vector<std::byte> bytes(values.size() * sizeof(float));
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return Literal(shape, std::move(bytes));
}

std::vector<float> Ramp(int64_t size, float first) {
  std::vector<float> values(size);
  std::iota(values.begin(), values.end(), first);
  return values;
}

TEST(InterpreterTest, MeshesThatExchangeArraysComputeTheExpectedState) {
  const Exchange cases[] = {
      {TestMesh({2}), TestMesh({1}, 2), {4, 6}, Sharding::Split(0, 0), Sharding::Replicated()},
      {TestMesh({1}), TestMesh({3}, 1), {5, 7}, Sharding::Replicated(), Sharding::Split(1, 0)},
      {TestMesh({2}), TestMesh({2}, 2), {4, 6}, Sharding::Split(0, 0), Sharding::Split(1, 0)},
      {TestMesh({2, 2}), TestMesh({3}, 4), {5, 4}, {{{1}, {0}}}, Sharding::Split(1, 0)}};
  for (Exchange exchange : cases) {
    for (const bool in_a_loop : {false, true}) {
      for (const bool answers : {false, true}) {
        exchange.in_a_loop = in_a_loop;
        exchange.answers = answers;
        exchange.rounds = 4;
        const plan::Executable executable = ExchangeExecutable(exchange);
        ASSERT_TRUE(plan::Verify(executable).ok()) << plan::Verify(executable);
        const int64_t size = executable.inputs[0].shape.elements();
        worker::ExchangeState state{Ramp(size, 1), Ramp(size, 50), {1, 2, 3, 4}};
        std::vector<Literal> inputs;
        for (int leaf = 0; leaf < 3; ++leaf) {
          inputs.push_back(Make(executable.inputs[leaf].shape, leaf == 0 ? state.w : leaf == 1 ? state.v : state.s));
        }
        const auto results = Interpret(executable, inputs, {0, 1, 2});
        ASSERT_TRUE(results.ok()) << results.status();
        worker::ExpectExchange(exchange, state);
        EXPECT_TRUE((*results)[0] == Make(executable.inputs[0].shape, state.w)) << plan::Print(executable);
        EXPECT_TRUE((*results)[1] == Make(executable.inputs[1].shape, state.v)) << plan::Print(executable);
        EXPECT_TRUE((*results)[2] == Make(executable.inputs[2].shape, state.s)) << plan::Print(executable);
      }
    }
  }
}

TEST(InterpreterTest, NamesTheMeshThatWaitsForAMessageThatNoMeshSends) {
  plan::Executable executable = worker::SendExecutable();
  executable.mesh_programs[0].instructions.erase(executable.mesh_programs[0].instructions.begin() + 1);   // the SEND
  const Literal three = Make(executable.inputs[0].shape, {1, 2, 3});
  const auto results = Interpret(executable, {three, three}, {0, 1, -1});
  EXPECT_THAT(std::string(results.status().message()),
              ::testing::HasSubstr("mesh 1 waits for a message that no mesh sends"));
}

}  // namespace
}  // namespace alpa::testing
