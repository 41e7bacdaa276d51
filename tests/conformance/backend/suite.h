// The conformance suite of kernels::Backend. It consists of rows, which are named tests. The test file of a backend
// registers the suite:
//
//   const bool registered = RegisterBackendSuite({
//       .name = "cpu",
//       .make = [](int devices) { return MakeCpuBackend({.devices = devices}); },
//       .never = {{"fft/*", "no FFT on this device"}},
//       .not_yet = {{"sort/f64", "comparators in f64 round through f32"}}});
//
// Rows:   Most rows run a program and compare its results with graph::Evaluate. The other rows test streams, aliases,
//         collectives, and several devices at the same time. A test is named BACKEND.ROW.
// Lists:  Both lists map rows to reasons. A key is the name of a row, or a prefix of row names followed by "*".
//         `never`: the backend does not support the row, and its Compile must return kUnimplemented. `not_yet`: the row
//         has a known fault and must fail. Once the row passes, remove it from the list.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/backend.h"
#include "tests/conformance/program.h"

namespace alpa::conformance {

inline constexpr int kSuiteDevices = 4;  // number of devices of the backend under test

struct BackendSubject {
  std::string name;
  std::function<absl::StatusOr<std::unique_ptr<kernels::Backend>>(int devices)> make;
  std::map<std::string, std::string> never;
  std::map<std::string, std::string> not_yet;
};

// Registers the tests of one backend. Call it from a static initialiser, before GoogleTest runs tests. Returns true.
bool RegisterBackendSuite(const BackendSubject& subject);

// One test. `run` gets a backend with kSuiteDevices devices and returns OK if the test passes.
struct Row {
  std::string name;
  std::function<absl::Status(kernels::Backend&)> run;
};

// ---- Interface for the files that define rows ----

using Rows = std::vector<Row>;
void AddElementwiseRows(Rows& rows);
void AddMovementRows(Rows& rows);
void AddGatherRows(Rows& rows);
void AddContractionRows(Rows& rows);
void AddReductionRows(Rows& rows);
void AddControlRows(Rows& rows);
void AddPatternRows(Rows& rows);
void AddCollectiveRows(Rows& rows);
void AddStreamRows(Rows& rows);
void AddFuzzRows(Rows& rows);

// Adds a row that runs a program twice on device 0. `make` returns the program. The row compares the results with the
// evaluator. It also checks that no input was overwritten, and that both runs give the same bits.
void AddProgram(Rows& rows, std::string name, std::function<Program()> make);

// Runs a program once and returns its results. First fills the outputs with a poison value. If alias[i] is not
// negative, the program writes result i to the buffer of parameter alias[i].
absl::StatusOr<std::vector<Literal>> RunOn(kernels::Backend& backend, int device, const Program& program,
                                           const std::vector<int32_t>& alias = {});

// A compiled program with its buffers, for tests that run it more than once or while other programs run.
class Loaded {
 public:
  static absl::StatusOr<Loaded> Load(kernels::Backend& backend, int device, const graph::Graph& graph,
                                     const std::vector<Literal>& arguments, const std::vector<int32_t>& alias = {},
                                     kernels::CollectiveProvider* collectives = nullptr);
  Loaded(Loaded&&) = default;
  // Enqueues one execution: fills the outputs with poison, copies the inputs, runs, and copies the results back.
  void Start();
  // Waits for the stream and returns the results.
  absl::StatusOr<std::vector<Literal>> Finish();
  // Returns the current contents of the input buffers. Call it after Finish, to check that they did not change.
  absl::StatusOr<std::vector<Literal>> ReadInputs();

 private:
  Loaded() = default;
  kernels::Backend* backend_ = nullptr;
  int device_ = 0;
  std::vector<Literal> arguments_;
  std::vector<Shape> result_shapes_;
  std::vector<int32_t> alias_;
  std::vector<std::unique_ptr<kernels::Buffer>> inputs_, own_outputs_;
  std::vector<kernels::Buffer*> outputs_;
  std::vector<std::vector<std::byte>> host_;
  std::unique_ptr<kernels::CompiledProgram> program_;
};

}  // namespace alpa::conformance
