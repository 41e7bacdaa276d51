// One suite for every transport: messages, collectives against their definition, and what happens when things break.

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <functional>
#include <iostream>
#include <future>
#include <random>
#include <thread>

#include "comm/collective.h"
#include "comm/local/local_transport.h"
#include "comm/ucx/ucx_transport.h"

namespace alpa::comm {
namespace {

using graph::DType;
using graph::ReduceKind;

// n endpoints of one epoch, and whatever keeps them alive.
struct World {
  std::vector<std::unique_ptr<Transport>> transports;
  std::vector<std::unique_ptr<Endpoint>> endpoints;
};

struct Subject {
  std::string name;
  std::function<World(int ranks, uint64_t epoch)> make;
};

World LocalWorld(int ranks, uint64_t) {
  World world;
  world.endpoints = MakeLocalEndpoints(ranks);
  return world;
}

// `per_process` ranks on each of several transports, which take each other for other processes.
World UcxWorld(int ranks, uint64_t epoch, int per_process) {
  World world;
  const int processes = (ranks + per_process - 1) / per_process;
  for (int p = 0; p < processes; ++p) {
    auto transport = MakeUcxTransport();
    EXPECT_TRUE(transport.ok()) << transport.status();
    world.transports.push_back(*std::move(transport));
  }
  for (int p = 0; p < processes; ++p) {
    std::vector<Transport::Peer> peers;
    for (int rank = 0; rank < ranks; ++rank) {
      peers.push_back({world.transports[rank / per_process]->address(), rank / per_process == p});
    }
    auto opened = world.transports[p]->Open(epoch, peers);
    EXPECT_TRUE(opened.ok()) << opened.status();
    for (auto& endpoint : *opened) world.endpoints.push_back(std::move(endpoint));
  }
  return world;
}

class CommTest : public ::testing::TestWithParam<Subject> {
 protected:
  World Make(int ranks) { return GetParam().make(ranks, ++epoch_); }

  // Runs `body` for every rank at once.
  static void OnAll(World& world, const std::function<void(Endpoint&)>& body) {
    std::vector<std::thread> threads;
    for (auto& endpoint : world.endpoints) threads.emplace_back([&] { body(*endpoint); });
    for (auto& thread : threads) thread.join();
  }
  static std::span<std::byte> Bytes(std::vector<float>& v) { return std::as_writable_bytes(std::span(v)); }

  static inline uint64_t epoch_ = 0;
};

TEST_P(CommTest, MessagesKeepOrderWithinATagAndMayOvertakeBetween) {
  World world = Make(2);
  OnAll(world, [](Endpoint& e) {
    std::vector<int> data = {10, 11, 20};
    auto at = [&](int i) { return std::as_writable_bytes(std::span(&data[i], 1)); };
    if (e.rank() == 0) {
      auto a = e.Send(1, 7, at(0)), b = e.Send(1, 7, at(1)), c = e.Send(1, 8, at(2));
      EXPECT_TRUE(a->Wait().ok() && b->Wait().ok() && c->Wait().ok());
    } else {
      std::vector<int> got(3);
      auto into = [&](int i) { return std::as_writable_bytes(std::span(&got[i], 1)); };
      auto c = e.Recv(0, 8, into(2));
      EXPECT_TRUE(c->Wait().ok());
      auto a = e.Recv(0, 7, into(0)), b = e.Recv(0, 7, into(1));
      EXPECT_TRUE(a->Wait().ok() && b->Wait().ok());
      EXPECT_EQ(got, data);
    }
  });
}

TEST_P(CommTest, BothMaySendFirst) {
  World world = Make(2);
  OnAll(world, [](Endpoint& e) {
    for (size_t size : {size_t{0}, size_t{1}, size_t{70'000}, size_t{4} << 20}) {
      std::vector<std::byte> out(size, std::byte(e.rank() + 1)), in(size);
      auto send = e.Send(1 - e.rank(), 1, out);
      auto recv = e.Recv(1 - e.rank(), 1, in);
      EXPECT_TRUE(recv->Wait().ok());
      EXPECT_TRUE(send->Wait().ok());
      EXPECT_EQ(in, std::vector<std::byte>(size, std::byte(2 - e.rank())));
    }
  });
}

TEST_P(CommTest, CollectivesDoWhatTheySay) {
  for (int n = 1; n <= 5; ++n) {
    World world = Make(n);
    std::vector<std::vector<float>> sums(n);
    OnAll(world, [&](Endpoint& e) {
      std::vector<int> members;
      for (int i = 0; i < n; ++i) members.push_back(i);
      auto group = MakeGroup(e, members, 3);
      ASSERT_TRUE(group.ok()) << group.status();
      const int r = e.rank();
      for (size_t count : {size_t{0}, size_t{1}, size_t{7}, size_t{1000}, size_t{50'001}}) {
        auto value = [](int rank, size_t i) { return static_cast<float>((rank + 1) * 0.37 + static_cast<double>(i % 13)); };
        std::vector<float> data(count);
        for (size_t i = 0; i < count; ++i) data[i] = value(r, i);
        ASSERT_TRUE((*group)->AllReduce(Bytes(data), DType::kF32, ReduceKind::kSum).ok());
        for (size_t i = 0; i < count; ++i) {
          double expected = 0;
          for (int k = 0; k < n; ++k) expected += value(k, i);
          ASSERT_NEAR(data[i], expected, 1e-4);
        }
        sums[r] = data;
        for (size_t i = 0; i < count; ++i) data[i] = value(r, i);
        ASSERT_TRUE((*group)->AllReduce(Bytes(data), DType::kF32, ReduceKind::kMax).ok());
        for (size_t i = 0; i < count; ++i) ASSERT_EQ(data[i], value(n - 1, i));

        std::vector<float> mine(count, static_cast<float>(r)), all(count * n);
        ASSERT_TRUE((*group)->AllGather(Bytes(mine), Bytes(all)).ok());
        for (size_t i = 0; i < all.size(); ++i) ASSERT_EQ(all[i], static_cast<float>(i / std::max<size_t>(1, count)));

        std::vector<float> parts(count * n), part(count);
        for (size_t i = 0; i < parts.size(); ++i) parts[i] = static_cast<float>(i + static_cast<size_t>(r));
        ASSERT_TRUE((*group)->ReduceScatter(Bytes(parts), Bytes(part), DType::kF32, ReduceKind::kSum).ok());
        for (size_t i = 0; i < count; ++i) {
          ASSERT_EQ(part[i], static_cast<float>(n * (static_cast<size_t>(r) * count + i)) + n * (n - 1) / 2.0f);
        }
        std::vector<float> to(count * n), from(count * n);
        for (size_t i = 0; i < to.size(); ++i) to[i] = static_cast<float>(100 * r) + static_cast<float>(i / std::max<size_t>(1, count));
        ASSERT_TRUE((*group)->AllToAll(Bytes(to), Bytes(from)).ok());
        for (size_t i = 0; i < from.size(); ++i) {
          ASSERT_EQ(from[i], static_cast<float>(100 * (i / std::max<size_t>(1, count))) + static_cast<float>(r));
        }
        std::vector<float> moved(count, -1);
        std::vector<int64_t> shift(n);
        for (int i = 0; i < n; ++i) shift[i] = i + 1 < n ? i + 1 : -1;
        ASSERT_TRUE((*group)->Permute(Bytes(mine), Bytes(moved), shift).ok());
        for (float m : moved) ASSERT_EQ(m, r == 0 ? 0 : static_cast<float>(r - 1));

        const int root = n / 2;
        std::vector<float> told(count, static_cast<float>(r));
        ASSERT_TRUE((*group)->Broadcast(Bytes(told), root).ok());
        for (float t : told) ASSERT_EQ(t, static_cast<float>(root));
        ASSERT_TRUE((*group)->Barrier().ok());
      }
    });
    for (int r = 1; r < n; ++r) EXPECT_EQ(sums[r], sums[0]) << "ranks hold different bits";
  }
}

TEST_P(CommTest, SixteenBitFloatsAreRoundedOnce) {
  World world = Make(3);
  OnAll(world, [](Endpoint& e) {
    auto group = MakeGroup(e, {0, 1, 2}, 0);
    // 256 + 1 + 1 is 258 in bf16, but 256 if rounded after each sum.
    std::vector<uint16_t> data(5, graph::FloatToBf16(e.rank() == 0 ? 256.0f : 1.0f));
    ASSERT_TRUE((*group)->AllReduce(std::as_writable_bytes(std::span(data)), DType::kBF16, ReduceKind::kSum).ok());
    for (uint16_t bits : data) EXPECT_EQ(graph::Bf16ToFloat(bits), 258.0f);
  });
}

TEST_P(CommTest, SubgroupsAreIndependent) {
  World world = Make(4);
  OnAll(world, [](Endpoint& e) {
    const int row = e.rank() / 2, column = e.rank() % 2;
    auto rows = MakeGroup(e, {2 * row, 2 * row + 1}, 1);
    auto columns = MakeGroup(e, {column, column + 2}, 2);
    for (int i = 0; i < 50; ++i) {
      std::vector<int32_t> x = {e.rank()}, y = {e.rank()};
      ASSERT_TRUE((*rows)->AllReduce(std::as_writable_bytes(std::span(x)), DType::kS32, ReduceKind::kSum).ok());
      ASSERT_TRUE((*columns)->AllReduce(std::as_writable_bytes(std::span(y)), DType::kS32, ReduceKind::kProduct).ok());
      ASSERT_EQ(x[0], 4 * row + 1);
      ASSERT_EQ(y[0], column * (column + 2));
    }
  });
}

TEST_P(CommTest, AbortUnblocksAndSaysWhy) {
  World world = Make(3);
  OnAll(world, [](Endpoint& e) {
    auto group = MakeGroup(e, {0, 1, 2}, 0);
    std::vector<float> data(100'000, 1);
    if (e.rank() == 2) {   // never takes part
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      e.Abort(absl::AbortedError("worker c was lost"));
      return;
    }
    std::thread stopper;
    const auto started = std::chrono::steady_clock::now();
    stopper = std::thread([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      (*group)->Abort(absl::AbortedError("worker c was lost"));
    });
    const absl::Status status = (*group)->AllReduce(Bytes(data), DType::kF32, ReduceKind::kSum);
    stopper.join();
    EXPECT_EQ(status, absl::AbortedError("worker c was lost"));
    EXPECT_EQ((*group)->Barrier(), absl::AbortedError("worker c was lost"));
    EXPECT_LT(std::chrono::steady_clock::now() - started, std::chrono::seconds(1));
  });
}

TEST_P(CommTest, SameBitsOnARerun) {
  std::vector<float> first;
  for (int run = 0; run < 2; ++run) {
    World world = Make(4);
    OnAll(world, [&](Endpoint& e) {
      auto group = MakeGroup(e, {0, 1, 2, 3}, 0);
      std::mt19937 random(e.rank());
      std::vector<float> data(30'000);
      for (float& x : data) x = std::normal_distribution<float>()(random);
      ASSERT_TRUE((*group)->AllReduce(Bytes(data), DType::kF32, ReduceKind::kSum).ok());
      if (e.rank() != 0) return;
      if (run == 0) first = data;
      else EXPECT_EQ(first, data);
    });
  }
}

INSTANTIATE_TEST_SUITE_P(Transports, CommTest,
                         ::testing::Values(Subject{"local", LocalWorld},
                                           Subject{"ucx", [](int n, uint64_t e) { return UcxWorld(n, e, 1); }},
                                           Subject{"hybrid", [](int n, uint64_t e) { return UcxWorld(n, e, 2); }}),
                         [](const auto& info) { return info.param.name; });

// Two real processes. The child runs `body` as rank 1; the parent as rank 0.
class ProcessPair {
 public:
  explicit ProcessPair(const std::function<int(Endpoint&)>& child_body, uint64_t epoch) {
    int to_child[2], to_parent[2];
    EXPECT_EQ(pipe(to_child), 0);
    EXPECT_EQ(pipe(to_parent), 0);
    child_ = fork();
    if (child_ == 0) {
      auto transport = MakeUcxTransport();
      Write(to_parent[1], (*transport)->address());
      auto opened = (*transport)->Open(epoch, {{Read(to_child[0]), false}, {(*transport)->address(), true}});
      _exit(child_body(*(*opened)[0]));
    }
    auto transport = MakeUcxTransport();
    EXPECT_TRUE(transport.ok()) << transport.status();
    transport_ = *std::move(transport);
    Write(to_child[1], transport_->address());
    auto opened = transport_->Open(epoch, {{transport_->address(), true}, {Read(to_parent[0]), false}});
    EXPECT_TRUE(opened.ok()) << opened.status();
    endpoint_ = std::move((*opened)[0]);
  }
  ~ProcessPair() {
    endpoint_.reset();
    if (child_ > 0) {
      kill(child_, SIGKILL);
      waitpid(child_, nullptr, 0);
    }
  }
  Endpoint& endpoint() { return *endpoint_; }
  void KillChild() { kill(child_, SIGKILL); }
  int ChildExit() {
    int status = 0;
    waitpid(child_, &status, 0);
    child_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

 private:
  static void Write(int fd, const std::string& text) {
    const uint32_t size = static_cast<uint32_t>(text.size());
    (void)!write(fd, &size, sizeof(size));
    (void)!write(fd, text.data(), size);
  }
  static std::string Read(int fd) {
    uint32_t size = 0;
    (void)!read(fd, &size, sizeof(size));
    std::string text(size, 0);
    (void)!read(fd, text.data(), size);
    return text;
  }
  pid_t child_ = -1;
  std::unique_ptr<Transport> transport_;
  std::unique_ptr<Endpoint> endpoint_;
};

TEST(ProcessTest, AllReduceAcrossProcesses) {
  auto body = [](Endpoint& e) {
    auto group = MakeGroup(e, {0, 1}, 0);
    for (int round = 0; round < 20; ++round) {
      for (size_t count : {size_t{1}, size_t{1} << 20}) {
        std::vector<float> data(count, static_cast<float>(e.rank() + 1));
        const absl::Status status =
            (*group)->AllReduce(std::as_writable_bytes(std::span(data)), DType::kF32, ReduceKind::kSum);
        if (!status.ok()) {
          std::cerr << "rank " << e.rank() << ": " << status << "\n";
          return 1;
        }
        for (float x : data) {
          if (x != 3) return 2;
        }
      }
    }
    return (*group)->Barrier().ok() ? 0 : 3;
  };
  ProcessPair pair(body, 1);
  EXPECT_EQ(body(pair.endpoint()), 0);
  EXPECT_EQ(pair.ChildExit(), 0);
}

TEST(ProcessTest, AKilledPeerDoesNotHoldAnybodyAfterAbort) {
  auto pair = std::make_unique<ProcessPair>(
      [](Endpoint& e) {
        auto group = MakeGroup(e, {0, 1}, 0);
        (void)(*group)->Barrier();
        std::this_thread::sleep_for(std::chrono::seconds(60));
        return 0;
      },
      2);
  auto group = MakeGroup(pair->endpoint(), {0, 1}, 0);
  ASSERT_TRUE((*group)->Barrier().ok());
  pair->KillChild();
  std::vector<float> data(4 << 20, 1);
  auto blocked = std::async(std::launch::async, [&] {
    return (*group)->AllReduce(std::as_writable_bytes(std::span(data)), DType::kF32, ReduceKind::kSum);
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  const auto started = std::chrono::steady_clock::now();
  (*group)->Abort(absl::UnavailableError("worker b was lost"));
  EXPECT_FALSE(blocked.get().ok());
  EXPECT_LT(std::chrono::steady_clock::now() - started, std::chrono::seconds(1));
  pair.reset();
  // A new epoch with a new peer works.
  ProcessPair again([](Endpoint& e) { return (*MakeGroup(e, {0, 1}, 0))->Barrier().ok() ? 0 : 1; }, 3);
  EXPECT_TRUE((*MakeGroup(again.endpoint(), {0, 1}, 0))->Barrier().ok());
  EXPECT_EQ(again.ChildExit(), 0);
}

}  // namespace
}  // namespace alpa::comm
