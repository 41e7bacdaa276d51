// What every kernels::Backend must do, as named rows. A backend's test file registers it:
//
//   const bool registered = RegisterBackendSuite({
//       .name = "cpu",
//       .make = [](int devices) { return MakeCpuBackend({.devices = devices}); },
//       .never = {{"fft/*", "no FFT on this device"}},
//       .not_yet = {{"sort/f64", "comparators in f64 round through f32"}}});
//
// Rows:   most are programs, compared with graph::Evaluate; the others are about streams, aliasing, collectives, several
//         devices at once. A row's name says what it is about; the tests are called <subject>.<row>.
// Lists:  `never`: the backend does not have this and its Compile must say kUnimplemented. `not_yet`: a known fault;
//         the row must fail, and once it passes it has to leave the list. Keys are row names; a last "*" stands for any
//         rest.
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

inline constexpr int kSuiteDevices = 4;

struct BackendSubject {
  std::string name;
  std::function<absl::StatusOr<std::unique_ptr<kernels::Backend>>(int devices)> make;
  std::map<std::string, std::string> never;
  std::map<std::string, std::string> not_yet;
};

// Call before main's InitGoogleTest has run tests (from a static initialiser). Returns true.
bool RegisterBackendSuite(const BackendSubject& subject);

// One test of one backend with kSuiteDevices devices. OK: it does what it must.
struct Row {
  std::string name;
  std::function<absl::Status(kernels::Backend&)> run;
};

// ---- For the files that hold rows ----

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

// A row that runs `make()` on device 0 and compares with the evaluator; twice, for the same bits.
void AddProgram(Rows& rows, std::string name, std::function<Program()> make);

// The results of one run: inputs copied, outputs poisoned first, everything awaited. Result i lies in the
// buffer of parameter alias[i] where that is not negative.
absl::StatusOr<std::vector<Literal>> RunOn(kernels::Backend& backend, int device, const Program& program,
                                           const std::vector<int32_t>& alias = {});

// A compiled program with its buffers, for tests that run it more than once or at the same time as others.
class Loaded {
 public:
  static absl::StatusOr<Loaded> Load(kernels::Backend& backend, int device, const graph::Graph& graph,
                                     const std::vector<Literal>& arguments, const std::vector<int32_t>& alias = {},
                                     kernels::CollectiveProvider* collectives = nullptr);
  Loaded(Loaded&&) = default;
  // Enqueues: inputs copied, outputs poisoned, one execution, results copied back.
  void Start();
  // Awaits the stream.
  absl::StatusOr<std::vector<Literal>> Finish();
  // Device memory after Finish, to see whether inputs were left alone.
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
