#include "tests/conformance/backend/suite.h"

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "graph/evaluator.h"
#include "graph/print.h"
#include "graph/verify.h"
#include "gtest/gtest.h"

namespace alpa::conformance {
namespace {

// Returns the reason that `list` gives for the row, or null if the row is not in the list.
const std::string* Listed(const std::map<std::string, std::string>& list, const std::string& row) {
  for (const auto& [pattern, reason] : list) {
    const bool prefix = !pattern.empty() && pattern.back() == '*';
    if (prefix ? row.starts_with(pattern.substr(0, pattern.size() - 1)) : row == pattern) return &reason;
  }
  return nullptr;
}

// Holds the backend that all rows of a subject (a backend under test) share. The backend is destroyed after the last
// test.
class SharedBackend : public testing::Environment {
 public:
  explicit SharedBackend(BackendSubject subject) : subject_(std::move(subject)) {}
  void TearDown() override { backend_.reset(); }
  const BackendSubject& subject() const { return subject_; }
  absl::StatusOr<kernels::Backend*> Get() {
    if (backend_ == nullptr) {
      ALPA_ASSIGN_OR_RETURN(backend_, subject_.make(kSuiteDevices));
    }
    return backend_.get();
  }

 private:
  const BackendSubject subject_;
  std::unique_ptr<kernels::Backend> backend_;
};

class RowTest : public testing::Test {
 public:
  RowTest(SharedBackend& shared, const Row& row) : shared_(shared), row_(row) {}

  void TestBody() override {
    absl::StatusOr<kernels::Backend*> backend = shared_.Get();
    ASSERT_TRUE(backend.ok()) << backend.status();
    const absl::Status status = row_.run(**backend);
    if (const std::string* reason = Listed(shared_.subject().never, row_.name)) {
      EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented)
          << "the row is in `never` (" << *reason << "), but it returned: " << status;
    } else if (const std::string* reason = Listed(shared_.subject().not_yet, row_.name)) {
      EXPECT_FALSE(status.ok()) << "the row passes; remove it from `not_yet` (" << *reason << ")";
      if (!status.ok()) std::cout << "known fault: " << *reason << ": " << status << "\n";
    } else {
      EXPECT_TRUE(status.ok()) << status;
    }
  }

 private:
  SharedBackend& shared_;
  const Row row_;
};

}  // namespace

bool RegisterBackendSuite(const BackendSubject& subject) {
  Rows rows;
  AddElementwiseRows(rows);
  AddMovementRows(rows);
  AddGatherRows(rows);
  AddContractionRows(rows);
  AddReductionRows(rows);
  AddControlRows(rows);
  AddPatternRows(rows);
  AddCollectiveRows(rows);
  AddStreamRows(rows);
  AddFuzzRows(rows);
  auto* shared = new SharedBackend(subject);
  testing::AddGlobalTestEnvironment(shared);  // takes ownership
  for (const Row& row : rows) {
    testing::RegisterTest(subject.name.c_str(), row.name.c_str(), nullptr, nullptr, __FILE__, __LINE__,
                          [shared, row]() -> testing::Test* { return new RowTest(*shared, row); });
  }
  return true;
}

absl::StatusOr<Loaded> Loaded::Load(kernels::Backend& backend, int device, const graph::Graph& graph,
                                    const std::vector<Literal>& arguments, const std::vector<int32_t>& alias,
                                    kernels::CollectiveProvider* collectives) {
  Loaded loaded;
  loaded.backend_ = &backend;
  loaded.device_ = device;
  loaded.arguments_ = arguments;
  loaded.alias_ = alias;
  loaded.alias_.resize(graph.results().size(), -1);
  for (const Literal& argument : arguments) {
    ALPA_ASSIGN_OR_RETURN(std::unique_ptr<kernels::Buffer> buffer, backend.Allocate(device, argument.shape().bytes()));
    loaded.inputs_.push_back(std::move(buffer));
  }
  for (size_t i = 0; i < graph.results().size(); ++i) {
    const Shape& shape = graph.shape(graph.results()[i]);
    loaded.result_shapes_.push_back(shape);
    loaded.host_.emplace_back(shape.bytes());
    if (loaded.alias_[i] >= 0) {
      loaded.outputs_.push_back(loaded.inputs_[loaded.alias_[i]].get());
      continue;
    }
    ALPA_ASSIGN_OR_RETURN(std::unique_ptr<kernels::Buffer> buffer, backend.Allocate(device, shape.bytes()));
    loaded.outputs_.push_back(buffer.get());
    loaded.own_outputs_.push_back(std::move(buffer));
  }
  ALPA_ASSIGN_OR_RETURN(loaded.program_,
                        backend.Compile(device, graph, {.alias = loaded.alias_, .collectives = collectives}));
  return loaded;
}

void Loaded::Start() {
  // If the program does not write an element, the element keeps the poison value and cannot be correct by chance.
  const std::byte poison[] = {std::byte{0xa5}, std::byte{0x5a}, std::byte{0xc3}, std::byte{0x7f}};
  for (auto& buffer : own_outputs_) backend_->Fill(device_, *buffer, std::span(poison).first(1));
  for (size_t i = 0; i < inputs_.size(); ++i) backend_->CopyToDevice(device_, arguments_[i].bytes(), *inputs_[i], 0);
  std::vector<kernels::Buffer*> inputs;
  for (auto& buffer : inputs_) inputs.push_back(buffer.get());
  program_->Run(backend_->stream(device_), std::move(inputs), outputs_);
  for (size_t i = 0; i < outputs_.size(); ++i) backend_->CopyToHost(device_, *outputs_[i], 0, host_[i]);
}

absl::StatusOr<std::vector<Literal>> Loaded::Finish() {
  ALPA_RETURN_IF_ERROR(backend_->stream(device_).Record()->Wait());
  std::vector<Literal> results;
  for (size_t i = 0; i < host_.size(); ++i) results.emplace_back(result_shapes_[i], host_[i]);
  return results;
}

absl::StatusOr<std::vector<Literal>> Loaded::ReadInputs() {
  std::vector<std::vector<std::byte>> bytes;
  for (const Literal& argument : arguments_) bytes.emplace_back(argument.shape().bytes());
  for (size_t i = 0; i < inputs_.size(); ++i) backend_->CopyToHost(device_, *inputs_[i], 0, bytes[i]);
  ALPA_RETURN_IF_ERROR(backend_->stream(device_).Record()->Wait());
  std::vector<Literal> literals;
  for (size_t i = 0; i < bytes.size(); ++i) literals.emplace_back(arguments_[i].shape(), std::move(bytes[i]));
  return literals;
}

absl::StatusOr<std::vector<Literal>> RunOn(kernels::Backend& backend, int device, const Program& program,
                                           const std::vector<int32_t>& alias) {
  ALPA_ASSIGN_OR_RETURN(Loaded loaded, Loaded::Load(backend, device, program.graph, program.arguments, alias));
  loaded.Start();
  absl::StatusOr<std::vector<Literal>> results = loaded.Finish();
  if (!results.ok()) backend.stream(device).Reset();
  return results;
}

void AddProgram(Rows& rows, std::string name, std::function<Program()> make) {
  rows.push_back({name, [name, make = std::move(make)](kernels::Backend& backend) -> absl::Status {
                    const Program program = make();
                    ALPA_RETURN_IF_ERROR(Annotate(graph::Verify(program.graph), "the graph of the row is not valid"));
                    ALPA_ASSIGN_OR_RETURN(const std::vector<Literal> expected,
                                          graph::Evaluate(program.graph, program.arguments));
                    ALPA_ASSIGN_OR_RETURN(Loaded loaded, Loaded::Load(backend, 0, program.graph, program.arguments));
                    loaded.Start();
                    absl::StatusOr<std::vector<Literal>> first = loaded.Finish();
                    if (!first.ok()) {
                      backend.stream(0).Reset();
                      return first.status();
                    }
                    absl::Status status = CompareAll(expected, *first, program.tolerances);
                    if (!status.ok())
                      return Annotate(status, program.graph.size() > 60 ? name : graph::Print(program.graph));
                    ALPA_ASSIGN_OR_RETURN(const std::vector<Literal> inputs, loaded.ReadInputs());
                    for (size_t i = 0; i < inputs.size(); ++i) {
                      if (inputs[i].shape().bytes() > 0 && inputs[i] != program.arguments[i])
                        return Internal("input %d was overwritten", i);
                    }
                    loaded.Start();
                    ALPA_ASSIGN_OR_RETURN(const std::vector<Literal> second, loaded.Finish());
                    for (size_t i = 0; i < second.size(); ++i) {
                      if (second[i].shape().bytes() > 0 && second[i] != (*first)[i])
                        return Internal("result %d differs between the two runs", i);
                    }
                    return absl::OkStatus();
                  }});
}

}  // namespace alpa::conformance
