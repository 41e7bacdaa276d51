#include "worker/measure/probe.h"

#include <algorithm>
#include <cstring>
#include <future>

#include "base/clock.h"
#include "base/status.h"
#include "worker/measure/timing.h"

namespace alpa::worker {
namespace {

constexpr int kMaxRuns = 2000;      // maximum number of runs per round; all runs of a round are enqueued at once
// The intended seconds of a round. This time is long compared with a reading of the clock, and short compared with a
// time slice of the system.
constexpr double kRound = 200e-6;
constexpr int kMinRounds = 3, kMaxRounds = 25;  // per measurement

// Returns the bytes of one element with the value 0.5.
std::vector<std::byte> Half(graph::DType dtype) {
  const auto bytes = [](auto value) {
    std::vector<std::byte> out(sizeof(value));
    std::memcpy(out.data(), &value, sizeof(value));
    return out;
  };
  switch (dtype) {
    case graph::DType::kF16: return bytes(graph::FloatToF16(0.5f));
    case graph::DType::kBF16: return bytes(graph::FloatToBf16(0.5f));
    case graph::DType::kF64: return bytes(0.5);
    default: return bytes(0.5f);
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<Probe>> Probe::Make(kernels::Backend& backend, int device, const graph::Graph& graph,
                                                   int index_limit) {
  std::unique_ptr<Probe> probe(new Probe(backend, device));
  ALPA_ASSIGN_OR_RETURN(probe->program_, backend.Compile(device, graph, {}));
  for (graph::ValueId id : graph.results()) {
    ALPA_ASSIGN_OR_RETURN(auto buffer, backend.Allocate(device, graph.shape(id).bytes()));
    probe->outputs_.push_back(std::move(buffer));
  }
  for (graph::ValueId id : graph.parameters()) {
    const graph::Shape& shape = graph.shape(id);
    ALPA_ASSIGN_OR_RETURN(auto buffer, backend.Allocate(device, shape.bytes()));
    std::vector<int32_t> indices;
    if (shape.dtype == graph::DType::kS32) {
      for (int64_t i = 0; i < shape.elements(); ++i) indices.push_back(static_cast<int32_t>(i * 7919 % index_limit));
      backend.CopyToDevice(device, std::as_bytes(std::span(indices)), *buffer, 0);
    } else {
      backend.Fill(device, *buffer, Half(shape.dtype));
    }
    ALPA_RETURN_IF_ERROR(backend.stream(device).Record()->Wait());
    probe->inputs_.push_back(std::move(buffer));
  }
  return probe;
}

absl::StatusOr<double> Probe::Round(std::span<Probe* const> probes, int runs) {
  std::promise<void> gate;
  const std::shared_future<void> open = gate.get_future().share();
  std::vector<MonotonicTime> begins(probes.size()), ends(probes.size());
  std::vector<std::shared_ptr<kernels::Event>> done;
  for (size_t p = 0; p < probes.size(); ++p) {
    Probe& probe = *probes[p];
    kernels::Stream& stream = probe.backend_.stream(probe.device_);
    std::vector<kernels::Buffer*> inputs, outputs;
    for (const auto& buffer : probe.inputs_) inputs.push_back(buffer.get());
    for (const auto& buffer : probe.outputs_) outputs.push_back(buffer.get());
    stream.Enqueue([open, begin = &begins[p]] {
      open.wait();
      *begin = Clock::Real().Now();
      return absl::OkStatus();
    });
    for (int run = 0; run < runs; ++run) {
      stream.Enqueue([] { return absl::OkStatus(); });  // imitates DeviceExecutor's check for cancellation
      probe.program_->Run(stream, inputs, outputs);
    }
    stream.Enqueue([end = &ends[p]] {
      *end = Clock::Real().Now();
      return absl::OkStatus();
    });
    done.push_back(stream.Record());
  }
  gate.set_value();
  absl::Status status;
  for (const auto& event : done) status.Update(event->Wait());
  ALPA_RETURN_IF_ERROR(status);
  double longest = 0;
  for (size_t p = 0; p < probes.size(); ++p) longest = std::max(longest, SecondsBetween(begins[p], ends[p]));
  return std::max(longest / runs, 1e-10);
}

absl::StatusOr<double> Probe::Fastest(std::span<Probe* const> probes, double patience) {
  ALPA_RETURN_IF_ERROR(Round(probes, 1).status());  // warms up: the first run touches new memory
  const TimeLimit limit(patience);
  ALPA_ASSIGN_OR_RETURN(double fastest, Round(probes, 1));
  double last = fastest;
  for (int round = 1; round < kMinRounds || (round < kMaxRounds && limit.Allows(last)); ++round) {
    const int runs = static_cast<int>(std::clamp(kRound / fastest, 1.0, double{kMaxRuns}));
    ALPA_ASSIGN_OR_RETURN(const double seconds, Round(probes, runs));
    last = seconds * runs;
    fastest = std::min(fastest, seconds);
  }
  return fastest;
}

absl::StatusOr<double> Probe::Fastest(double patience) {
  Probe* const self[] = {this};
  return Fastest(self, patience);
}

absl::StatusOr<double> Probe::FastestTogether(std::span<const std::unique_ptr<Probe>> probes, double patience) {
  std::vector<Probe*> all;
  for (const auto& probe : probes) all.push_back(probe.get());
  return Fastest(all, patience);
}

}  // namespace alpa::worker
