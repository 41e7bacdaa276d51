#include "worker/measure/measure.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/clock.h"
#include "comm/local/local_transport.h"
#include "comm/ucx/ucx_transport.h"
#include "kernels/cpu/cpu_backend.h"
#include "worker/measure/facts.h"
#include "worker/measure/link_measure.h"
#include "worker/measure/timing.h"
#include "worker/testing/fake_backend.h"

namespace alpa::worker {
namespace {

MeasureOptions OnCpu(double seconds) {
  MeasureOptions options;
  options.device_name = "cpu";
  options.devices = 2;
  options.seconds = seconds;
  options.backend = [](int devices) {
    return kernels::cpu::MakeCpuBackend({.devices = devices, .threads_per_device = 1});
  };
  options.transport = [](bool far) { return comm::MakeUcxTransport({.ways = far ? "tcp" : ""}); };
  return options;
}

double SecondsOfProduct(const cluster::DeviceProfile& device, int64_t extent) {
  for (const cluster::ProductPoint& p : device.products) {
    if (p.m == extent && p.n == extent && p.k == extent) return p.seconds;
  }
  return 0;
}

// Expects that a worker's facts with this profile pass the coordinator's check.
void ExpectSound(const cluster::NodeProfile& profile) {
  const absl::Status sound = cluster::Check(FactsOf(ReadMachine(), {"cpu", 1, "ucx"}, profile));
  EXPECT_TRUE(sound.ok()) << sound;
}

void ExpectNeverFalls(const cluster::Curve& curve) {
  ASSERT_GE(curve.points.size(), 3u);
  for (size_t i = 1; i < curve.points.size(); ++i) EXPECT_GE(curve.points[i].seconds, curve.points[i - 1].seconds);
}

TEST(MeasureNode, MeasuresSoundAndOrderedNumbersOfThisMachine) {
  const auto measured = MeasureNode(OnCpu(300));  // enough for any machine, however busy or slow
  ASSERT_TRUE(measured.ok()) << measured.status();
  EXPECT_TRUE(measured->remarks.empty()) << measured->remarks[0];
  const cluster::NodeProfile& profile = measured->profile;
  EXPECT_TRUE(profile.measured);
  ExpectSound(profile);
  const cluster::DeviceProfile& device = profile.device;
  ExpectNeverFalls(device.memory);
  EXPECT_GT(device.memory.points.back().seconds, device.memory.points.front().seconds);
  for (const cluster::LinkProfile* link : {&profile.inside, &profile.between, &profile.outside}) {
    ExpectNeverFalls(link->message);
    for (const cluster::Curve* curve :
         {&link->all_reduce, &link->all_gather, &link->reduce_scatter, &link->all_to_all}) {
      ExpectNeverFalls(*curve);
    }
  }
  // The large product has 512 times the work of the small one. The rate of the large product is between 0.1 and 100
  // times the rate of the small one.
  const double small = SecondsOfProduct(device, 8), large = SecondsOfProduct(device, 64);
  EXPECT_GT(large, 512.0 / 100 * small);
  EXPECT_LT(large, 5120 * small);
  EXPECT_GT(device.half_products.size(), 5u);
  // No processor does 10^12 additions per second on one thread, and none takes a microsecond for one addition.
  for (double seconds : {device.element_seconds, device.transcendental_seconds, device.slow_element_seconds}) {
    EXPECT_GT(seconds, 1e-12);
    EXPECT_LT(seconds, 1e-6);
  }
  EXPECT_LT(device.kernel_seconds, 1e-3);
  EXPECT_LT(device.program_seconds, 1e-3);
}

TEST(MeasureNode, MeasuresOnlyTheNecessaryNumbersIfThereIsNoTime) {
  const auto measured = MeasureNode(OnCpu(0));
  ASSERT_TRUE(measured.ok()) << measured.status();
  ExpectSound(measured->profile);
  EXPECT_EQ(measured->profile.device.products.size(), 27u);
  EXPECT_EQ(measured->profile.inside.message.points.size(), 5u);
  EXPECT_TRUE(measured->profile.inside.all_reduce.points.empty());
}

TEST(MeasureNode, AssumesLinksThatItCannotMeasureAndAddsARemark) {
  MeasureOptions options = OnCpu(0);
  options.transport = [](bool far) -> absl::StatusOr<std::unique_ptr<comm::Transport>> {
    if (far) return absl::UnavailableError("no network");
    return comm::MakeLocalTransport();  // reaches no other process
  };
  const auto measured = MeasureNode(options);
  ASSERT_TRUE(measured.ok()) << measured.status();
  ASSERT_EQ(measured->remarks.size(), 2u);
  EXPECT_NE(measured->remarks[1].find("no network"), std::string::npos);
  ExpectSound(measured->profile);
}

TEST(MeasureNode, ReturnsTheErrorOfAFailingBackend) {
  MeasureOptions options = OnCpu(0);
  options.backend = [](int devices) {
    auto backend = std::make_unique<FakeBackend>(devices);
    backend->before_run = [](int) { return absl::InternalError("the device is broken"); };
    return backend;
  };
  EXPECT_EQ(MeasureNode(options).status().message(), "the device is broken");
}

// An endpoint whose first `messages` sends succeed. Later sends fail.
class FailingEndpoint : public comm::Endpoint {
 public:
  FailingEndpoint(comm::Endpoint& endpoint, int messages) : endpoint_(endpoint), left_(messages) {}
  int rank() const override { return endpoint_.rank(); }
  int size() const override { return endpoint_.size(); }
  std::unique_ptr<comm::Request> Send(int peer, uint32_t tag, std::span<const std::byte> data) override {
    if (left_-- > 0) return endpoint_.Send(peer, tag, data);
    struct Failed : comm::Request {
      absl::Status Wait() override { return absl::UnavailableError("the cable is cut"); }
    };
    return std::make_unique<Failed>();
  }
  std::unique_ptr<comm::Request> Recv(int peer, uint32_t tag, std::span<std::byte> data) override {
    return endpoint_.Recv(peer, tag, data);
  }
  void Abort(const absl::Status& cause) override { endpoint_.Abort(cause); }

 private:
  comm::Endpoint& endpoint_;
  int left_;
};

TEST(MeasureLink, ABrokenLinkLeavesNoThreadWaiting) {
  const auto transport = comm::MakeLocalTransport();
  for (int failing : {0, 1}) {
    auto endpoints = transport->Open(10 + failing, {{transport->address(), true}, {transport->address(), true}});
    ASSERT_TRUE(endpoints.ok()) << endpoints.status();
    FailingEndpoint broken(*(*endpoints)[failing], 5);
    comm::Endpoint& good = *(*endpoints)[1 - failing];
    const auto link = failing == 0 ? MeasureLink(broken, good, TimeLimit(1)) : MeasureLink(good, broken, TimeLimit(1));
    EXPECT_EQ(link.status().message(), "the cable is cut");
  }
}

TEST(AssumedProfile, IsSoundAndMarkedAsAssumed) {
  const cluster::NodeProfile profile = AssumedProfile("cpu, 2 threads", 2);
  ExpectSound(profile);
  EXPECT_FALSE(profile.measured);
  EXPECT_EQ(profile.device.name, "cpu, 2 threads (assumed)");
}

TEST(Facts, FollowFromTheMachineAndTheSettings) {
  Machine machine;
  machine.host_key = machine.host_name = "box";
  machine.lasting_id = "id";
  machine.cpu_model = "Fast CPU";
  machine.cpus = {2, 3, 5};
  machine.cores = 2.5;
  const cluster::NodeFacts facts = FactsOf(machine, {"cpu", 2, "ucx"}, AssumedProfile("cpu", 2));
  EXPECT_EQ(facts.cores, 2.5);
  EXPECT_EQ(facts.device_cores, 2);
  EXPECT_EQ(facts.cpus, machine.cpus);
  EXPECT_EQ(FactsOf(machine, {"cpu", 8, "ucx"}, {}).device_cores, 2.5);
  EXPECT_EQ(MeasuringDevices(machine, {"cpu", 1, "ucx"}), 2);
  EXPECT_EQ(MeasuringDevices(machine, {"cpu", 8, "ucx"}), 1);
  // The key changes with everything that affects the numbers. A reboot does not change the key.
  const std::string key = CacheKey(machine, {"cpu", 1, "ucx"}, "1.0");
  EXPECT_NE(key, CacheKey(machine, {"cpu", 2, "ucx"}, "1.0"));
  EXPECT_NE(key, CacheKey(machine, {"cpu", 1, "local"}, "1.0"));
  EXPECT_NE(key, CacheKey(machine, {"cpu", 1, "ucx"}, "1.1"));
  machine.host_key = "after a reboot";
  EXPECT_EQ(key, CacheKey(machine, {"cpu", 1, "ucx"}, "1.0"));
  machine.cpus = {2, 3};
  EXPECT_NE(key, CacheKey(machine, {"cpu", 1, "ucx"}, "1.0"));
}

}  // namespace
}  // namespace alpa::worker
