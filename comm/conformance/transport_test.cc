// Tests every transport: messages, failures and epochs.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <vector>

#include "base/clock.h"
#include "comm/conformance/world.h"

namespace alpa::comm {
namespace {

using ::testing::Each;

class TransportTest : public ::testing::TestWithParam<Subject> {};
INSTANTIATE_TEST_SUITE_P(All, TransportTest, ::testing::ValuesIn(AllSubjects()), NameOfSubject);

// Returns the subjects whose transports treat the two ranks as separate processes.
std::vector<Subject> SeparateSubjects() {
  std::vector<Subject> subjects = AllSubjects();
  std::erase_if(subjects, [](const Subject& subject) { return subject.ranks_per_transport != 1; });
  return subjects;
}
class SeparateTransportTest : public ::testing::TestWithParam<Subject> {};
INSTANTIATE_TEST_SUITE_P(All, SeparateTransportTest, ::testing::ValuesIn(SeparateSubjects()), NameOfSubject);

constexpr size_t kSizes[] = {0, 1, 8, 8191, 8192, 8193, 70'000, size_t{9} << 20};

TEST_P(TransportTest, MessagesKeepTheirOrderWithinATagButNotAcrossTags) {
  World world(GetParam(), 2);
  Endpoints endpoints = world.Open(1);
  OnAll(endpoints, [](Endpoint& e) {
    std::vector<int> data = {10, 11, 20};
    auto at = [](std::vector<int>& v, int i) { return std::as_writable_bytes(std::span(&v[i], 1)); };
    if (e.rank() == 0) {
      auto a = e.Send(1, 7, at(data, 0)), b = e.Send(1, 7, at(data, 1)), c = e.Send(1, 8, at(data, 2));
      for (auto* request : {&a, &b, &c}) EXPECT_EQ((*request)->Wait(), absl::OkStatus());
    } else {
      std::vector<int> got(3);
      EXPECT_EQ(e.Recv(0, 8, at(got, 2))->Wait(), absl::OkStatus());
      auto a = e.Recv(0, 7, at(got, 0)), b = e.Recv(0, 7, at(got, 1));
      EXPECT_EQ(b->Wait(), absl::OkStatus());
      EXPECT_EQ(a->Wait(), absl::OkStatus());
      EXPECT_EQ(got, data);
    }
  });
}

TEST_P(TransportTest, BothRanksMaySendFirst) {
  World world(GetParam(), 2);
  Endpoints endpoints = world.Open(1);
  OnAll(endpoints, [](Endpoint& e) {
    for (size_t size : kSizes) {
      std::vector<std::byte> out(size, std::byte(e.rank() + 1)), in(size);
      auto send = e.Send(1 - e.rank(), 1, out);
      auto recv = e.Recv(1 - e.rank(), 1, in);
      EXPECT_EQ(send->Wait(), absl::OkStatus());
      EXPECT_EQ(recv->Wait(), absl::OkStatus());
      EXPECT_EQ(in, std::vector<std::byte>(size, std::byte(2 - e.rank()))) << size;
    }
  });
}

TEST_P(TransportTest, ManyMessagesMayBeOpenBeforeAnyIsReceived) {
  constexpr int kMessages = 300;
  World world(GetParam(), 2);
  Endpoints endpoints = world.Open(1);
  OnAll(endpoints, [](Endpoint& e) {
    std::vector<std::vector<int>> data(kMessages);
    std::vector<std::unique_ptr<Request>> requests;
    for (int i = 0; i < kMessages; ++i) {
      data[i].assign(static_cast<size_t>(1 + i * 37 % 5000), e.rank() == 0 ? i : -1);
      if (e.rank() == 0) requests.push_back(e.Send(1, static_cast<uint32_t>(i), BytesOf(data[i])));
    }
    if (e.rank() == 1) {
      SleepMillis(50);
      for (int i = kMessages - 1; i >= 0; --i) {
        requests.push_back(e.Recv(0, static_cast<uint32_t>(i), BytesOf(data[i])));
      }
    }
    for (auto& request : requests) ASSERT_EQ(request->Wait(), absl::OkStatus());
    for (int i = 0; i < kMessages; ++i) EXPECT_THAT(data[i], Each(i));
  });
}

// One waiting thread drives the progress of all operations: its own, those of other waiting threads, and those that no
// thread waits for.
TEST_P(TransportTest, ThreadsOfOneEndpointDoNotBlockEachOther) {
  World world(GetParam(), 2);
  Endpoints endpoints = world.Open(1);
  OnAll(endpoints, [](Endpoint& e) {
    std::vector<std::thread> threads;
    for (uint32_t tag = 0; tag < 4; ++tag) {
      threads.emplace_back([&e, tag] {
        for (int round = 0; round < 50; ++round) {
          std::vector<int> out(tag == 3 ? 50'000 : 1, round), in(out.size());
          auto recv = e.Recv(1 - e.rank(), tag, BytesOf(in));
          auto send = e.Send(1 - e.rank(), tag, BytesOf(out));
          ASSERT_EQ(recv->Wait(), absl::OkStatus());
          ASSERT_EQ(send->Wait(), absl::OkStatus());
          ASSERT_EQ(in, out);
        }
      });
    }
    for (auto& thread : threads) thread.join();
  });
}

TEST_P(TransportTest, AMessageArrivesBeforeItsSenderWaits) {
  World world(GetParam(), 2);
  Endpoints endpoints = world.Open(1);
  std::vector<int> out(1 << 18, 5), in(1 << 18), done(1);
  auto send = endpoints[0]->Send(1, 1, BytesOf(out));
  ASSERT_EQ(endpoints[1]->Recv(0, 1, BytesOf(in))->Wait(), absl::OkStatus());
  EXPECT_THAT(in, Each(5));
  EXPECT_EQ(send->Wait(), absl::OkStatus());
}

TEST_P(TransportTest, DestroyingARequestWaitsForIt) {
  World world(GetParam(), 2);
  Endpoints endpoints = world.Open(1);
  OnAll(endpoints, [](Endpoint& e) {
    std::vector<int> data(100'000, e.rank() == 0 ? 3 : 0);
    if (e.rank() == 0) (void)e.Send(1, 1, BytesOf(data));
    else (void)e.Recv(0, 1, BytesOf(data));
    EXPECT_THAT(data, Each(3));
  });
}

TEST_P(TransportTest, ReceivesOfTheWrongSizeFail) {
  World world(GetParam(), 2);
  Endpoints endpoints = world.Open(1);
  OnAll(endpoints, [](Endpoint& e) {
    std::vector<std::byte> small(64), large(128);
    for (bool large_send : {true, false}) {
      if (e.rank() == 0) {
        (void)e.Send(1, large_send, large_send ? large : small)->Wait();   // may fail
      } else {
        EXPECT_EQ(e.Recv(0, large_send, large_send ? small : large)->Wait().code(), absl::StatusCode::kInvalidArgument);
      }
    }
  });
}

TEST_P(TransportTest, UnknownRanksAreRefused) {
  World world(GetParam(), 2);
  Endpoints endpoints = world.Open(1);
  std::vector<std::byte> data(1);
  for (int peer : {-1, 2}) {
    EXPECT_EQ(endpoints[0]->Send(peer, 1, data)->Wait().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(endpoints[0]->Recv(peer, 1, data)->Wait().code(), absl::StatusCode::kInvalidArgument);
  }
}

TEST_P(TransportTest, AbortUnblocksEveryOperationWithItsCause) {
  for (size_t size : {size_t{8}, size_t{4} << 20}) {
    World world(GetParam(), 2);
    Endpoints endpoints = world.Open(1);
    const absl::Status cause = absl::AbortedError("worker b was lost");
    std::vector<std::byte> out(size), in(size);
    // Starts two waiting threads. One of them drives the progress for both.
    std::vector<std::thread> threads;
    threads.emplace_back([&] {
      const absl::Status status = endpoints[0]->Send(1, 1, out)->Wait();
      EXPECT_TRUE(status == cause || status.ok()) << status;   // a small message may already be sent
    });
    threads.emplace_back([&] { EXPECT_EQ(endpoints[0]->Recv(1, 1, in)->Wait(), cause); });
    SleepMillis(60);
    const MonotonicTime start = Clock::Real().Now();
    endpoints[0]->Abort(cause);
    endpoints[0]->Abort(absl::InternalError("a later cause"));
    for (auto& thread : threads) thread.join();
    EXPECT_EQ(endpoints[0]->Send(1, 1, out)->Wait(), cause);
    EXPECT_EQ(endpoints[0]->Recv(1, 1, in)->Wait(), cause);
    EXPECT_LT(Clock::Real().Now() - start, std::chrono::seconds(1));
  }
}

// Rank 3 aborts without any open message. Each other rank waits for a message from the next rank.
TEST_P(TransportTest, AbortUnblocksTheOtherRanks) {
  World world(GetParam(), 4);
  Endpoints endpoints = world.Open(1);
  std::atomic<MonotonicTime> aborted{MonotonicTime()};
  OnAll(endpoints, [&](Endpoint& e) {
    std::vector<std::byte> data(100);
    if (e.rank() == 3) {
      SleepMillis(60);
      aborted = Clock::Real().Now();
      e.Abort(absl::InternalError("an op failed"));
      return;
    }
    const absl::Status status = e.Recv(e.rank() + 1, 1, data)->Wait();
    // Within a process, the status is rank 3's cause. Another process may see that rank 3 is gone before it learns of
    // the abort.
    EXPECT_TRUE(absl::IsAborted(status) || absl::IsUnavailable(status) || status == absl::InternalError("an op failed"))
        << status;
    EXPECT_LT(Clock::Real().Now() - aborted.load(), std::chrono::seconds(1));
  });
}

TEST_P(SeparateTransportTest, OperationsFailInAnEpochThatAPeerHasAborted) {
  World world(GetParam(), 2);
  auto first = world.OpenOn(0, 1);
  ASSERT_TRUE(first.ok()) << first.status();
  (*first)[0]->Abort(absl::InternalError("too late"));
  first->clear();
  auto second = world.OpenOn(1, 1);
  ASSERT_TRUE(second.ok()) << second.status();
  std::vector<std::byte> data(100);
  auto send = (*second)[0]->Send(0, 1, data), receive = (*second)[0]->Recv(0, 1, data);
  EXPECT_EQ(receive->Wait().code(), absl::StatusCode::kAborted);
  EXPECT_EQ(send->Wait().code(), absl::StatusCode::kAborted);
}

TEST_P(SeparateTransportTest, AbortedReceivesLeaveTheirMemoryUntouched) {
  World world(GetParam(), 2);
  Endpoints endpoints = world.Open(1);
  OnAll(endpoints, [&](Endpoint& e) {   // establishes the connection
    std::vector<std::byte> data(8);
    if (e.rank() == 0) {
      EXPECT_TRUE(e.Recv(1, 9, data)->Wait().ok());
    } else {
      EXPECT_TRUE(e.Send(0, 9, data)->Wait().ok());
    }
  });
  std::vector<std::byte> small(8), large(1 << 20), out(1 << 20, std::byte{9});
  auto a = endpoints[0]->Recv(1, 1, small), b = endpoints[0]->Recv(1, 2, large);
  endpoints[0]->Abort(absl::AbortedError("over"));
  EXPECT_FALSE(a->Wait().ok());
  EXPECT_FALSE(b->Wait().ok());
  auto c = endpoints[1]->Send(0, 1, std::span(out).first(8)), d = endpoints[1]->Send(0, 2, out);
  SleepMillis(100);
  EXPECT_THAT(small, Each(std::byte{0}));
  EXPECT_THAT(large, Each(std::byte{0}));
  endpoints[1]->Abort(absl::AbortedError("over"));
}

TEST_P(SeparateTransportTest, OpenDoesNotWaitForPeersAndKeepsEarlyMessages) {
  World world(GetParam(), 2);
  auto first = world.OpenOn(0, 7);
  ASSERT_TRUE(first.ok()) << first.status();
  std::vector<std::vector<int>> out(20), in(20);
  std::vector<std::unique_ptr<Request>> sends;
  for (int i = 0; i < 20; ++i) {
    out[i].assign(static_cast<size_t>(1 + i * 1000), i);
    in[i].resize(out[i].size());
    sends.push_back((*first)[0]->Send(1, 5, BytesOf(out[i])));
  }
  SleepMillis(50);
  auto second = world.OpenOn(1, 7);
  ASSERT_TRUE(second.ok()) << second.status();
  for (int i = 0; i < 20; ++i) {
    ASSERT_EQ((*second)[0]->Recv(0, 5, BytesOf(in[i]))->Wait(), absl::OkStatus());
    EXPECT_THAT(in[i], Each(i));
  }
  for (auto& send : sends) EXPECT_EQ(send->Wait(), absl::OkStatus());
}

TEST_P(SeparateTransportTest, AbortEndsAWaitForAPeerThatNeverOpens) {
  World world(GetParam(), 2);
  auto opened = world.OpenOn(0, 7);
  ASSERT_TRUE(opened.ok()) << opened.status();
  std::vector<std::byte> data(8);
  auto send = (*opened)[0]->Send(1, 1, data);
  std::thread aborter([&] {
    SleepMillis(50);
    (*opened)[0]->Abort(absl::AbortedError("start-up took too long"));
  });
  EXPECT_EQ(send->Wait(), absl::AbortedError("start-up took too long"));
  aborter.join();
}

TEST_P(TransportTest, MessagesOfAnOldEpochDoNotReachANewOne) {
  World world(GetParam(), 2);
  for (bool abort : {true, false}) {
    const uint64_t epoch = abort ? 1 : 300;   // 300 does not fit into the tag's 8 bits for the epoch
    std::vector<int> old(1, 111), fresh(1, 222), in(1);
    {
      Endpoints endpoints = world.Open(epoch);
      auto send = endpoints[0]->Send(1, 4, BytesOf(old));
      SleepMillis(20);
      if (abort || GetParam().ranks_per_transport == 0) {
        for (auto& endpoint : endpoints) endpoint->Abort(absl::AbortedError("epoch over"));
      } else {
        std::vector<int> go(1);
        OnAll(endpoints, [&](Endpoint& e) {   // returns when the first message has arrived without a receive
          if (e.rank() == 0) {
            EXPECT_TRUE(e.Send(1, 5, BytesOf(go))->Wait().ok());
          } else {
            EXPECT_TRUE(e.Recv(0, 5, BytesOf(go))->Wait().ok());
          }
        });
        if (GetParam().ranks_per_transport != 1) endpoints[0]->Abort(absl::AbortedError("epoch over"));
      }
      (void)send->Wait();
    }
    Endpoints endpoints = world.Open(epoch + 1);
    OnAll(endpoints, [&](Endpoint& e) {
      if (e.rank() == 0) {
        EXPECT_EQ(e.Send(1, 4, BytesOf(fresh))->Wait(), absl::OkStatus());
      } else {
        EXPECT_EQ(e.Recv(0, 4, BytesOf(in))->Wait(), absl::OkStatus());
      }
    });
    EXPECT_EQ(in[0], 222);
  }
}

TEST_P(TransportTest, ConcurrentEpochsDoNotReceiveEachOthersMessages) {
  World world(GetParam(), 2);
  Endpoints a = world.Open(1), b = world.Open(257);   // 1 and 257 have the same lowest 8 bits
  std::vector<int> out_a(1, 1), out_b(1, 2), in_a(1), in_b(1);
  auto send_b = b[0]->Send(1, 4, BytesOf(out_b)), send_a = a[0]->Send(1, 4, BytesOf(out_a));
  auto recv_a = a[1]->Recv(0, 4, BytesOf(in_a)), recv_b = b[1]->Recv(0, 4, BytesOf(in_b));
  for (auto* request : {&recv_a, &recv_b, &send_a, &send_b}) EXPECT_EQ((*request)->Wait(), absl::OkStatus());
  EXPECT_EQ(in_a[0], 1);
  EXPECT_EQ(in_b[0], 2);
  // The end of one epoch does not affect the other.
  for (auto& endpoint : a) endpoint->Abort(absl::AbortedError("over"));
  std::vector<std::thread> threads;
  threads.emplace_back([&] { EXPECT_EQ(b[0]->Send(1, 4, BytesOf(out_a))->Wait(), absl::OkStatus()); });
  EXPECT_EQ(b[1]->Recv(0, 4, BytesOf(in_b))->Wait(), absl::OkStatus());
  threads[0].join();
  EXPECT_EQ(in_b[0], 1);
}

TEST(UcxTransportTest, AnOpenEpochCannotBeOpenedAgain) {
  World world({"ucx", 1, ""}, 2);
  auto first = world.OpenOn(0, 5);
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(world.OpenOn(0, 5).status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST(UcxTransportTest, BadAddressesAreRefused) {
  auto transport = *MakeUcxTransport();
  for (const char* address :
       {"", "x", "127.0.0.1:80", "127.0.0.1:0/12", "127.0.0.1:99999/12", ":80/1", "127.0.0.1:80/xyz"}) {
    EXPECT_EQ(transport->Open(1, {{"", true}, {address, false}}).status().code(), absl::StatusCode::kInvalidArgument)
        << address;
  }
}

TEST(UcxTransportTest, AProcessThatReusesAPortIsNotMistakenForTheOldOne) {
  auto a = *MakeUcxTransport(), b = *MakeUcxTransport();
  std::string address = b->address();
  address.back() = address.back() == '0' ? '1' : '0';
  auto endpoints = a->Open(1, {{"", true}, {address, false}});
  ASSERT_TRUE(endpoints.ok()) << endpoints.status();
  std::vector<std::byte> data(1);
  EXPECT_EQ((*endpoints)[0]->Send(1, 1, data)->Wait().code(), absl::StatusCode::kUnavailable);
}

TEST(UcxTransportTest, AWildcardHostNeedsAnAdvertisedHost) {
  EXPECT_EQ(MakeUcxTransport({.listen_host = "0.0.0.0"}).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(MakeUcxTransport({.listen_host = "203.0.113.7"}).status().code(), absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace alpa::comm
