// Tests meshes of different shapes that exchange arrays with different shardings, on one worker and on two workers over
// UCX.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <numeric>
#include <thread>

#include "base/status.h"
#include "comm/local/local_transport.h"
#include "comm/ucx/ucx_transport.h"
#include "worker/core/edge_parts.h"
#include "worker/core/worker_core.h"
#include "worker/testing/executables.h"
#include "worker/testing/fake_backend.h"
#include "worker/testing/recording_sink.h"

namespace alpa::worker {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr int kDevices = 8;

enum class Where { kOneWorker, kOneWorkerDeviceCopies, kTwoWorkersOverUcx };

// One worker with all devices, or one worker per mesh.
class Workers {
 public:
  Workers(Where where, const plan::Executable& executable) : executable_(executable) {
    const int count = where == Where::kTwoWorkersOverUcx ? 2 : 1;
    for (int i = 0; i < count; ++i) {
      Worker& worker = *workers_.emplace_back(std::make_unique<Worker>(where != Where::kOneWorkerDeviceCopies));
      if (where == Where::kTwoWorkersOverUcx) {
        auto transport = comm::MakeUcxTransport();
        if (!transport.ok()) std::abort();
        worker.transport = *std::move(transport);
      } else {
        worker.transport = comm::MakeLocalTransport();
      }
      worker.core = std::make_unique<WorkerCore>(
          WorkerCore::Options{&worker.backend, worker.transport.get(), 0, &Clock::Real()});
    }
    static uint64_t epoch = 100;
    ++epoch;
    for (int i = 0; i < count; ++i) {
      JobRuntime::Spec spec;
      spec.job_id = "job";
      spec.epoch = 1;
      spec.transport_epoch = epoch;
      spec.load = [executable]() -> absl::StatusOr<plan::Executable> { return executable; };
      for (size_t m = 0; m < executable.meshes.size(); ++m) {
        const int owner = count == 1 ? 0 : static_cast<int>(m);
        for (DeviceId device : executable.meshes[m].devices) {
          spec.ranks.push_back({device, absl::StrCat("worker", owner), workers_[owner]->transport->address(),
                                owner == i ? device.value() : -1});
        }
      }
      workers_[i]->core->Prepare(std::move(spec), workers_[i]->sink);
    }
    for (const auto& worker : workers_) {
      const absl::Status status = worker->sink->Prepared("job");
      EXPECT_TRUE(status.ok()) << status;
    }
  }

  // Puts a state leaf on all workers that hold a part of it.
  void Put(int leaf, const std::vector<float>& values) {
    ForRegions(leaf, [&](JobRuntime& job, const Region& region, int64_t offset) -> absl::Status {
      ALPA_ASSIGN_OR_RETURN(const auto transfer, job.BeginPut(LeafKind::kState, leaf, 0, region));
      ALPA_RETURN_IF_ERROR(transfer->Write(std::as_bytes(std::span(values).subspan(offset, region.elements()))));
      return transfer->Finish();
    });
  }
  std::vector<float> Get(int leaf, int64_t version) {
    std::vector<float> values(executable_.inputs[leaf].shape.elements());
    ForRegions(leaf, [&](JobRuntime& job, const Region& region, int64_t offset) -> absl::Status {
      ALPA_ASSIGN_OR_RETURN(const auto transfer, job.BeginGet(LeafKind::kState, leaf, version, region));
      return transfer->Read(std::as_writable_bytes(std::span(values).subspan(offset, region.elements())));
    });
    return values;
  }
  void Run(int64_t first, int64_t count) {
    for (const auto& worker : workers_) worker->core->RunSteps("job", 1, {first, count, 0, 0}, *worker->sink);
  }
  absl::Status Step(int64_t step) {
    absl::Status status;
    for (const auto& worker : workers_) status.Update(worker->sink->Step("job", step).status);
    return status;
  }
  void Release() {
    for (const auto& worker : workers_) worker->core->Release("job", 1, absl::OkStatus(), *worker->sink);
    for (const auto& worker : workers_) {
      EXPECT_TRUE(worker->sink->Released("job"));
      for (Bytes used : worker->core->device_bytes_in_use()) EXPECT_EQ(used, 0);
    }
  }
  FakeBackend& backend(int worker = 0) { return workers_[worker]->backend; }
  RecordingSink& sink(int worker = 0) { return *workers_[worker]->sink; }

 private:
  struct Worker {
    explicit Worker(bool host_addressable) : backend(kDevices, host_addressable) {}
    FakeBackend backend;
    std::unique_ptr<comm::Transport> transport;
    std::shared_ptr<RecordingSink> sink = std::make_shared<RecordingSink>();
    std::unique_ptr<WorkerCore> core;
  };

  // Calls `move` for each region of the leaf. Each region is the full leaf or contiguous in it.
  template <typename Move>
  void ForRegions(int leaf, Move&& move) {
    int64_t offset = 0;
    for (const plan::RegionPlacement& placed : executable_.inputs[leaf].regions) {
      Worker& worker = *workers_[workers_.size() == 1 ? 0 : placed.mesh.value()];
      const auto job = worker.core->Find("job", 1);
      ASSERT_TRUE(job.ok()) << job.status();
      const absl::Status status = move(**job, placed.region, offset);
      EXPECT_TRUE(status.ok()) << status;
      offset += placed.region.elements();
    }
  }

  const plan::Executable executable_;
  std::vector<std::unique_ptr<Worker>> workers_;
};

std::vector<float> Ramp(int64_t size, float first) {
  std::vector<float> values(size);
  std::iota(values.begin(), values.end(), first);
  return values;
}

struct Case {
  std::string name;
  std::vector<int64_t> first, second;   // meshes
  std::vector<int64_t> dims;
  plan::Sharding from, to;
};

std::vector<Case> AllCases() {
  using plan::Sharding;
  return {{"two_to_one", {2}, {1}, {4, 6}, Sharding::Split(0, 0), Sharding::Replicated()},
          {"two_to_one_columns", {2}, {1}, {4, 6}, Sharding::Split(1, 0), Sharding::Replicated()},
          {"one_to_three_short_columns", {1}, {3}, {5, 7}, Sharding::Replicated(), Sharding::Split(1, 0)},
          {"two_to_two_other_dims", {2}, {2}, {4, 6}, Sharding::Split(0, 0), Sharding::Split(1, 0)},
          {"two_to_two_alike", {2}, {2}, {4, 6}, Sharding::Split(0, 0), Sharding::Split(0, 0)},
          {"four_to_three_short", {2, 2}, {3}, {5, 6}, {{{0}, {1}}}, Sharding::Split(0, 0)},
          {"two_axes_on_one_dim", {2, 2}, {2}, {3, 8}, {{{}, {1, 0}}}, Sharding::Split(1, 0)},
          {"replicas_to_replicas", {2}, {3}, {5}, Sharding::Replicated(), Sharding::Replicated()},
          {"one_tile_is_empty", {2}, {3}, {4}, Sharding::Split(0, 0), Sharding::Split(0, 0)}};
}

class ExchangeTest : public ::testing::TestWithParam<std::tuple<Case, Where, bool>> {};

TEST_P(ExchangeTest, ArraysArriveInEveryRoundOfEveryStep) {
  const auto& [shapes, where, in_a_loop] = GetParam();
  constexpr int kSteps = 4;
  Exchange exchange{TestMesh(shapes.first), {}, shapes.dims, shapes.from, shapes.to, 3, true, in_a_loop};
  exchange.second = TestMesh(shapes.second, static_cast<int>(exchange.first.size()));
  const plan::Executable executable = ExchangeExecutable(exchange);
  Workers workers(where, executable);
  const int64_t size = executable.inputs[0].shape.elements();
  ExchangeState expected{Ramp(size, 1), Ramp(size, 100), {0, 0, 10, 10}};
  workers.Put(0, expected.w);
  workers.Put(1, expected.v);
  workers.Put(2, expected.s);
  workers.Run(1, kSteps);
  ASSERT_TRUE(workers.Step(kSteps).ok()) << workers.Step(kSteps);
  for (int step = 0; step < kSteps; ++step) ExpectExchange(exchange, expected);
  EXPECT_EQ(workers.Get(0, kSteps), expected.w);
  EXPECT_EQ(workers.Get(1, kSteps), expected.v);
  EXPECT_EQ(workers.Get(2, kSteps), expected.s);
  workers.Release();
}

std::string NameOf(const ::testing::TestParamInfo<std::tuple<Case, Where, bool>>& info) {
  static const char* const kWhere[] = {"one_worker", "device_copies", "ucx"};
  const auto& [shapes, where, in_a_loop] = info.param;
  return absl::StrCat(shapes.name, "_", kWhere[static_cast<int>(where)], in_a_loop ? "_loop" : "");
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, ExchangeTest,
    ::testing::Combine(::testing::ValuesIn(AllCases()),
                       ::testing::Values(Where::kOneWorker, Where::kOneWorkerDeviceCopies, Where::kTwoWorkersOverUcx),
                       ::testing::Bool()),
    NameOf);

Exchange OneWay(int rounds) {
  return {TestMesh({1}), TestMesh({1}, 1), {4}, {}, {}, rounds, false, false};
}

void PutZeros(Workers& workers) {
  for (int leaf = 0; leaf < 3; ++leaf) workers.Put(leaf, {0, 0, 0, 0});
}

// Makes device 1 wait before its first program until Open is called, and counts the programs that device 0 begins.
class HeldReceiver {
 public:
  explicit HeldReceiver(FakeBackend& backend) {
    backend.before_run = [this, open = gate_.get_future().share()](int device) {
      if (device == 0) ++sent_;
      if (device == 1) open.wait();
      return absl::OkStatus();
    };
  }
  void Open() { gate_.set_value(); }
  int sent() const { return sent_; }
  // Waits up to two seconds until device 0 has begun `n` programs.
  void WaitUntilSent(int n) const {
    for (int i = 0; i < 2000 && sent_ < n; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }

 private:
  std::promise<void> gate_;
  std::atomic<int> sent_{0};
};

TEST(Edges, ASenderRunsAheadUntilItNeedsTheBuffer) {
  Workers workers(Where::kOneWorker, ExchangeExecutable(OneWay(6)));
  PutZeros(workers);
  HeldReceiver held(workers.backend());
  workers.Run(1, 1);
  // The receiver has taken the first array and is held. The sender has two buffers. Its first buffer is free again, so
  // the sender computes the third array into that buffer. Its second buffer still holds the second array, so the sender
  // cannot compute a fourth array.
  held.WaitUntilSent(3);
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_EQ(held.sent(), 3);
  held.Open();
  ASSERT_TRUE(workers.Step(1).ok()) << workers.Step(1);
  EXPECT_EQ(held.sent(), 6);
  EXPECT_THAT(workers.Get(1, 1), ElementsAre(3, 3, 3, 3));   // 5 - 4 + 3 - 2 + 1 - 0
  workers.Release();
}

TEST(Edges, AFailureEndsMessagesThatNobodyWillReceive) {
  for (const Where where : {Where::kOneWorker, Where::kTwoWorkersOverUcx}) {
    Exchange exchange = OneWay(6);
    exchange.answers = true;
    Workers workers(where, ExchangeExecutable(exchange));
    PutZeros(workers);
    FakeBackend& failing = workers.backend(where == Where::kTwoWorkersOverUcx ? 1 : 0);
    std::atomic<int> runs{0};
    failing.before_run = [&](int device) {
      return device == 1 && ++runs == 3 ? absl::InternalError("device 1 burnt down") : absl::OkStatus();
    };
    workers.Run(1, 5);
    const absl::Status status = workers.sink(where == Where::kTwoWorkersOverUcx ? 1 : 0).Step("job").status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("burnt down"));
    EXPECT_FALSE(workers.Step(1).ok());
    workers.Release();
  }
}

TEST(Edges, AReleaseEndsAWaitingSender) {
  Workers workers(Where::kOneWorker, ExchangeExecutable(OneWay(6)));
  PutZeros(workers);
  HeldReceiver held(workers.backend());
  workers.Run(1, 3);
  held.WaitUntilSent(3);
  std::thread opener([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    held.Open();
  });
  workers.Release();
  opener.join();
}

TEST(EdgeParts, APartThatIsContiguousInTheTileNeedsNoStaging) {
  Exchange exchange{TestMesh({2}), TestMesh({2}, 2), {4, 6}, plan::Sharding::Split(0, 0), plan::Sharding::Split(1, 0)};
  const plan::Executable executable = ExchangeExecutable(exchange);
  const auto layout = MakeLayout(executable, TestRanks(4));
  ASSERT_TRUE(layout.ok());
  // The sending mesh splits the rows of the array, and the receiving mesh splits the columns. In the sender's tile, a
  // part is 2 rows of 3 elements, which are not contiguous. In the receiver's tile the part is contiguous.
  const EdgeParts sends = PartsOf(executable, *layout, layout->devices[1], executable.edges[0]);
  ASSERT_EQ(sends.parts.size(), 2u);
  EXPECT_FALSE(sends.any_direct);
  EXPECT_EQ(sends.staging_bytes, 2 * 64);
  EXPECT_EQ(sends.parts[1].peer, 3);
  EXPECT_EQ(sends.parts[1].size, 24);
  const EdgeParts receives = PartsOf(executable, *layout, layout->devices[2], executable.edges[0]);
  ASSERT_EQ(receives.parts.size(), 2u);
  EXPECT_EQ(receives.staging_bytes, 0);
  EXPECT_EQ(receives.parts[1].peer, 1);
  EXPECT_EQ(receives.parts[1].offset, 24);
  EXPECT_FALSE(receives.short_tile);
}

}  // namespace
}  // namespace alpa::worker
