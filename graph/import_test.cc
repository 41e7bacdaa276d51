#include "graph/import.h"

#include <random>
#include <string>

#include "gmock/gmock.h"
#include "graph/print.h"
#include "graph/testing.h"
#include "graph/verify.h"
#include "gtest/gtest.h"
#include "proto/hlo.pb.h"

namespace alpa::graph {
namespace {

using testing::Count;
using ::testing::HasSubstr;
using testing::ReadTestdata;

Graph Import(const std::string& name) {
  absl::StatusOr<Graph> graph = ImportHlo(ReadTestdata(name));
  EXPECT_TRUE(graph.ok()) << name << ": " << graph.status();
  return graph.ok() ? *std::move(graph) : Graph();
}

TEST(ImportTest, KeepsParametersResultsAndLocationsOfAGptStep) {
  const Graph graph = Import("gpt_step.pb");
  ASSERT_EQ(graph.parameters().size(), 9u);  // 6 parameters, key, x, y
  ASSERT_EQ(graph.results().size(), 8u);     // 6 parameters, key, loss
  EXPECT_EQ(graph.shape(graph.parameters()[0]).ToString(), "f32[11,8]");
  EXPECT_EQ(graph.shape(graph.parameters()[6]).ToString(), "u32[2]");
  EXPECT_EQ(graph.shape(graph.results()[7]).ToString(), "f32[]");
  EXPECT_EQ(Count(graph, Opcode::kWhile), 0);
  EXPECT_GE(Count(graph, Opcode::kDot), 15);
  int located = 0;
  for (const Op& op : graph.ops()) {
    if (op.opcode != Opcode::kDot) continue;
    EXPECT_THAT(graph.location(op), HasSubstr("make_testdata.py:"));
    EXPECT_THAT(graph.location(op), HasSubstr("jit(gpt_step)"));
    ++located;
  }
  EXPECT_GT(located, 0);
}

TEST(ImportTest, CountedLoopsAreUnrolled) {
  const Graph graph = Import("scan_grad.pb");
  EXPECT_EQ(Count(graph, Opcode::kWhile), 0);
  EXPECT_EQ(Count(graph, Opcode::kOptimizationBarrier), 3);  // jax.checkpoint adds one per layer
  EXPECT_EQ(Count(Import("nested_loops.pb"), Opcode::kWhile), 0);
}

TEST(ImportTest, LoopsBeyondTheBudgetStayLoops) {
  ImportLimits limits;
  limits.max_unrolled_ops = 10;
  const absl::StatusOr<Graph> graph = ImportHlo(ReadTestdata("scan_grad.pb"), limits);
  ASSERT_TRUE(graph.ok()) << graph.status();
  EXPECT_EQ(Count(*graph, Opcode::kWhile), 2);
}

TEST(ImportTest, LoopsOfUnknownLengthStayLoops) {
  const Graph graph = Import("while_unknown.pb");
  ASSERT_EQ(Count(graph, Opcode::kWhile), 1);
  for (const Op& op : graph.ops()) {
    if (op.opcode != Opcode::kWhile) continue;
    EXPECT_EQ(op.operands.size(), 2u);  // the leaves of the tuple
    EXPECT_EQ(op.regions.size(), 2u);
  }
}

TEST(ImportTest, AConditionalHasOneRegionPerBranch) {
  const Graph graph = Import("conditional.pb");
  ASSERT_EQ(Count(graph, Opcode::kConditional), 1);
  for (const Op& op : graph.ops()) {
    if (op.opcode == Opcode::kConditional) {
      EXPECT_EQ(op.regions.size(), 3u);
    }
  }
}

TEST(ImportTest, ReadsSortArgmaxAndTopK) {
  const Graph graph = Import("sort_argmax.pb");
  EXPECT_EQ(Count(graph, Opcode::kSort), 3);
  bool variadic = false;
  for (const Op& op : graph.ops())
    variadic = variadic || (op.opcode == Opcode::kReduce && op.results.size() == 2);
  EXPECT_TRUE(variadic);
}

TEST(ImportTest, UnsupportedOpsAreNamedWithTheirSource) {
  const absl::StatusOr<Graph> graph = ImportHlo(ReadTestdata("unsupported.pb"));
  ASSERT_EQ(graph.status().code(), absl::StatusCode::kUnimplemented);
  const std::string message(graph.status().message());
  EXPECT_THAT(message, HasSubstr("custom-call to \"Qr\""));
  EXPECT_THAT(message, HasSubstr("make_testdata.py:"));
  EXPECT_THAT(message, HasSubstr("jit(qr)"));
}

// ---- Import of hand-made modules ----

hlo::Instruction* Add(hlo::Computation* computation, const char* opcode, int64_t id,
                      std::vector<int64_t> dims = {4}, std::vector<int64_t> operands = {}) {
  hlo::Instruction* instruction = computation->add_instructions();
  instruction->set_opcode(opcode);
  instruction->set_name(absl::StrCat(opcode, ".", id));
  instruction->set_id(id);
  instruction->mutable_shape()->set_element_type(11);
  for (int64_t dim : dims) instruction->mutable_shape()->add_dimensions(dim);
  for (int64_t operand : operands) instruction->add_operand_ids(operand);
  computation->set_root_id(id);
  return instruction;
}

// main(x) = tanh(x) + tanh(x)
hlo::Module Small() {
  hlo::Module module;
  module.set_entry_computation_name("main");
  module.set_entry_computation_id(1);
  hlo::Computation* main = module.add_computations();
  main->set_name("main");
  main->set_id(1);
  Add(main, "parameter", 10);
  hlo::Metadata* metadata = Add(main, "tanh", 11, {4}, {10})->mutable_metadata();
  metadata->set_op_name("jit(step)/tanh");
  metadata->set_source_file("/home/me/model.py");
  metadata->set_source_line(12);
  Add(main, "add", 12, {4}, {11, 11});
  return module;
}

TEST(ImportTest, ReadsPlainIdsAndOldMetadata) {
  const absl::StatusOr<Graph> graph = ImportHlo(Small().SerializeAsString());
  ASSERT_TRUE(graph.ok()) << graph.status();
  EXPECT_EQ(Print(*graph, {.locations = true}),
            "%0 = f32[4] parameter(0)\n"
            "%1 = f32[4] tanh(%0)  # model.py:12 (jit(step)/tanh)\n"
            "%2 = f32[4] add(%1, %1)\n"
            "return %2\n");
}

TEST(ImportTest, ReadsLiteralsOfEveryType) {
  const int kTypes[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 16};
  for (const int type : kTypes) {
    hlo::Module module = Small();
    hlo::Computation* main = module.mutable_computations(0);
    hlo::Instruction* constant = Add(main, "constant", 13, {2});
    constant->mutable_shape()->set_element_type(type);
    hlo::LiteralValue* literal = constant->mutable_literal();
    *literal->mutable_shape() = constant->shape();
    const std::string bytes1("\1\0", 2), half("\0\x3c\0\0", 4), brain("\x80\x3f\0\0", 4),
        short1("\1\0\0\0", 4);
    switch (type) {
      case 1:
        literal->add_preds(true);
        literal->add_preds(false);
        break;
      case 2:
        literal->set_s8s(bytes1);
        break;
      case 3:
        literal->set_s16s(short1);
        break;
      case 4:
        literal->add_s32s(1);
        literal->add_s32s(0);
        break;
      case 5:
        literal->add_s64s(1);
        literal->add_s64s(0);
        break;
      case 6:
        literal->set_u8s(bytes1);
        break;
      case 7:
        literal->set_u16s(short1);
        break;
      case 8:
        literal->add_u32s(1);
        literal->add_u32s(0);
        break;
      case 9:
        literal->add_u64s(1);
        literal->add_u64s(0);
        break;
      case 10:
        literal->set_f16s(half);
        break;
      case 11:
        literal->add_f32s(1);
        literal->add_f32s(0);
        break;
      case 12:
        literal->add_f64s(1);
        literal->add_f64s(0);
        break;
      case 16:
        literal->set_bf16s(brain);
        break;
    }
    const absl::StatusOr<Graph> graph = ImportHlo(module.SerializeAsString());
    ASSERT_TRUE(graph.ok()) << type << ": " << graph.status();
    const Literal& value = graph->def(graph->results()[0]).as<ConstantAttrs>().literal;
    EXPECT_EQ(static_cast<int>(value.shape().dtype), type);
    EXPECT_EQ(value.ValueAt(0), 1) << type;
    EXPECT_EQ(value.ValueAt(1), 0) << type;
  }
}

// A change that makes Small() invalid. Import must then fail with an error that contains `says`.
struct Damage {
  const char* name;
  void (*apply)(hlo::Module*);
  const char* says;
  absl::StatusCode code = absl::StatusCode::kInvalidArgument;
};

hlo::Instruction* At(hlo::Module* module, int index) {
  return module->mutable_computations(0)->mutable_instructions(index);
}

TEST(ImportTest, RefusesHostileModules) {
  const Damage kDamages[] = {
      {"no computations", [](hlo::Module* m) { m->clear_computations(); }, "no computations"},
      {"entry that does not exist",
       [](hlo::Module* m) {
         m->set_entry_computation_id(7);
         m->set_entry_computation_name("other");
       },
       "entry computation"},
      {"root that does not exist", [](hlo::Module* m) { m->mutable_computations(0)->set_root_id(99); }, "its root"},
      {"operand that does not exist", [](hlo::Module* m) { At(m, 1)->set_operand_ids(0, 99); },
       "instruction id 99"},
      {"operand that comes later", [](hlo::Module* m) { At(m, 1)->set_operand_ids(0, 12); },
       "tanh \"tanh.11\""},
      {"cycle", [](hlo::Module* m) { At(m, 1)->set_operand_ids(0, 11); }, "not defined before"},
      {"id that is used twice", [](hlo::Module* m) { At(m, 1)->set_id(10); }, "used twice"},
      {"too few operands", [](hlo::Module* m) { At(m, 2)->mutable_operand_ids()->Truncate(1); }, "operands"},
      {"too many operands", [](hlo::Module* m) { At(m, 1)->add_operand_ids(10); }, "has 2 operands, but needs 1"},
      {"result with a wrong shape", [](hlo::Module* m) { At(m, 2)->mutable_shape()->set_dimensions(0, 5); },
       "declared as f32[5]"},
      {"negative dimension", [](hlo::Module* m) { At(m, 0)->mutable_shape()->set_dimensions(0, -4); },
       "negative"},
      {"bytes that do not fit in 64 bits",
       [](hlo::Module* m) {
         for (int i = 0; i < 2; ++i) At(m, 0)->mutable_shape()->add_dimensions(int64_t{1} << 40);
       },
       "64 bits"},
      {"too many dimensions",
       [](hlo::Module* m) {
         for (int i = 0; i < 40; ++i) At(m, 0)->mutable_shape()->add_dimensions(1);
       },
       "41 dimensions"},
      {"unknown opcode", [](hlo::Module* m) { At(m, 1)->set_opcode("explode"); }, "explode",
       absl::StatusCode::kUnimplemented},
      {"collective", [](hlo::Module* m) { At(m, 1)->set_opcode("all-reduce"); }, "one device",
       absl::StatusCode::kUnimplemented},
      {"complex numbers", [](hlo::Module* m) { At(m, 0)->mutable_shape()->set_element_type(15); }, "c64",
       absl::StatusCode::kUnimplemented},
      {"element type that does not exist", [](hlo::Module* m) { At(m, 0)->mutable_shape()->set_element_type(77); },
       "element type 77"},
      {"dynamic dimension", [](hlo::Module* m) { At(m, 0)->mutable_shape()->add_is_dynamic_dimension(true); },
       "dynamic", absl::StatusCode::kUnimplemented},
      {"call without a computation", [](hlo::Module* m) { At(m, 1)->set_opcode("call"); }, "calls 0 computations"},
      {"call of a missing computation", [](hlo::Module* m) { At(m, 1)->add_called_computation_ids(5); },
       "computation id 5"},
      {"computation that calls itself",
       [](hlo::Module* m) {
         At(m, 1)->set_opcode("call");
         At(m, 1)->add_called_computation_ids(1);
       },
       "nest deeper"},
      {"computation that is its own combiner",
       [](hlo::Module* m) {
         At(m, 1)->set_opcode("reduce");
         At(m, 1)->add_operand_ids(10);
         At(m, 1)->add_called_computation_ids(1);
       },
       "nest deeper"},
      {"loop that is its own body",
       [](hlo::Module* m) {
         At(m, 1)->set_opcode("while");
         At(m, 1)->add_called_computation_ids(1);
         At(m, 1)->add_called_computation_ids(1);
       },
       "nest deeper"},
      {"tuple element out of range",
       [](hlo::Module* m) {
         At(m, 1)->set_opcode("get-tuple-element");
         At(m, 1)->set_tuple_index(3);
       },
       "element 3"},
      {"literal with too few values",
       [](hlo::Module* m) {
         At(m, 1)->set_opcode("constant");
         At(m, 1)->clear_operand_ids();
         *At(m, 1)->mutable_literal()->mutable_shape() = At(m, 1)->shape();
         At(m, 1)->mutable_literal()->add_f32s(1);
       },
       "the number of values is 1, but must be 4"},
      {"literal with a huge shape and no values",
       [](hlo::Module* m) {
         At(m, 1)->set_opcode("constant");
         At(m, 1)->clear_operand_ids();
         *At(m, 1)->mutable_literal()->mutable_shape() = At(m, 1)->shape();
         At(m, 1)->mutable_literal()->mutable_shape()->set_dimensions(0, int64_t{1} << 50);
         At(m, 1)->mutable_shape()->set_dimensions(0, int64_t{1} << 50);
       },
       "the number of values is 0"},
      {"parameter number out of range", [](hlo::Module* m) { At(m, 0)->set_parameter_number(2); },
       "parameter number 2"},
      {"conditional without branches", [](hlo::Module* m) { At(m, 1)->set_opcode("conditional"); },
       "branches"},
      {"comparison without a direction", [](hlo::Module* m) { At(m, 2)->set_opcode("compare"); }, "direction"},
      {"unknown custom call",
       [](hlo::Module* m) {
         At(m, 1)->set_opcode("custom-call");
         At(m, 1)->set_custom_call_target("xyz");
       },
       "custom-call to \"xyz\" \"tanh.11\" of computation \"main\" at model.py:12 (jit(step)/tanh)",
       absl::StatusCode::kUnimplemented},
  };
  for (const Damage& damage : kDamages) {
    hlo::Module module = Small();
    damage.apply(&module);
    const absl::StatusOr<Graph> graph = ImportHlo(module.SerializeAsString());
    EXPECT_EQ(graph.status().code(), damage.code) << damage.name << ": " << graph.status();
    EXPECT_THAT(std::string(graph.status().message()), HasSubstr(damage.says)) << damage.name;
  }
}

TEST(ImportTest, RefusesCallsThatDoubleAtEachLevel) {
  hlo::Module module;
  module.set_entry_computation_id(50);
  for (int level = 0; level <= 50; ++level) {
    hlo::Computation* computation = module.add_computations();
    computation->set_id(level);
    Add(computation, "parameter", 1);
    if (level == 0) continue;
    Add(computation, "call", 2, {4}, {1})->add_called_computation_ids(level - 1);
    Add(computation, "call", 3, {4}, {2})->add_called_computation_ids(level - 1);
  }
  ImportLimits limits;
  limits.max_instructions = 100'000;
  const absl::StatusOr<Graph> graph = ImportHlo(module.SerializeAsString(), limits);
  ASSERT_EQ(graph.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(graph.status().message()), HasSubstr("more than 100000 instructions"));
}

TEST(ImportTest, RefusesATupleThatReadsALargeTupleManyTimes) {
  // A tuple reads another tuple of 1000 elements 100 000 times. That is 10^8 leaves in a few hundred KiB.
  hlo::Module module = Small();
  hlo::Computation* main = module.mutable_computations(0);
  hlo::Instruction* wide = Add(main, "tuple", 20, {}, std::vector<int64_t>(1000, 10));
  wide->mutable_shape()->set_element_type(13);
  for (int i = 0; i < 1000; ++i) *wide->mutable_shape()->add_tuple_shapes() = main->instructions(0).shape();
  Add(main, "tuple", 21, {}, std::vector<int64_t>(100'000, 20))->mutable_shape()->set_element_type(13);
  const absl::StatusOr<Graph> graph = ImportHlo(module.SerializeAsString());
  ASSERT_EQ(graph.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(graph.status().message()), HasSubstr("more than 1000000 instructions"));
}

TEST(ImportTest, RefusesBytesThatAreNotAModule) {
  EXPECT_EQ(ImportHlo("").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ImportHlo("not a module").status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(ImportTest, TruncatedModulesAreRefused) {
  for (const char* name : {"gather_scatter.pb", "while_unknown.pb", "conditional.pb"}) {
    const std::string bytes = ReadTestdata(name);
    // The part after the computations (frame tables, aliases) may be missing. Every other part is required.
    for (size_t size = 0; size < bytes.size(); size += 1 + bytes.size() / 400) {
      const absl::StatusOr<Graph> graph = ImportHlo(bytes.substr(0, size));
      if (graph.ok()) {
        EXPECT_TRUE(Verify(*graph).ok()) << name << " cut at " << size;
        EXPECT_GT(size, bytes.size() / 2) << name;
      }
    }
  }
}

TEST(ImportTest, FlippedBitsDoNotCrashImport) {
  std::mt19937 random(11);
  ImportLimits limits;
  limits.max_instructions = 20'000;
  limits.max_unrolled_ops = 2'000;
  int refused = 0, accepted = 0;
  for (const char* name : {"gather_scatter.pb", "while_unknown.pb", "conditional.pb", "nested_loops.pb",
                           "sort_argmax.pb", "conv_grad.pb"}) {
    const std::string bytes = ReadTestdata(name);
    for (int trial = 0; trial < 1000; ++trial) {
      std::string damaged = bytes;
      const int flips = 1 + static_cast<int>(random() % 4);
      for (int i = 0; i < flips; ++i)
        damaged[random() % damaged.size()] ^= static_cast<char>(1u << (random() % 8));
      const absl::StatusOr<Graph> graph = ImportHlo(damaged, limits);
      graph.ok() ? ++accepted : ++refused;
      if (graph.ok()) {
        EXPECT_TRUE(Verify(*graph).ok());
      } else {
        EXPECT_THAT(graph.status().code(),
                    ::testing::AnyOf(absl::StatusCode::kInvalidArgument, absl::StatusCode::kUnimplemented));
        EXPECT_FALSE(graph.status().message().empty());
      }
    }
  }
  EXPECT_GT(refused, 100);
  EXPECT_GT(accepted, 100);  // a module with a flipped bit in a name is still valid
}

}  // namespace
}  // namespace alpa::graph
