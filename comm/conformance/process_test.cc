// Tests transports between two processes. Some tests kill one of the processes. This binary starts itself again as the
// other process:
//
//   comm_process_test --child ROLE EPOCH PER_PROCESS
//
// The child reads the parent's address from descriptor 3 and writes its own address to descriptor 4.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <future>
#include <map>
#include <numeric>

#include "base/clock.h"
#include "comm/collective.h"
#include "comm/conformance/world.h"

namespace alpa::comm {
namespace {

using graph::DType;
using graph::ReduceKind;

void WriteText(int fd, const std::string& text) {
  const uint32_t size = static_cast<uint32_t>(text.size());
  if (write(fd, &size, sizeof(size)) != sizeof(size) || write(fd, text.data(), size) != static_cast<ssize_t>(size)) {
    std::abort();
  }
}
std::string ReadText(int fd) {
  uint32_t size = 0;
  if (read(fd, &size, sizeof(size)) != sizeof(size) || size > 4096) return "";
  std::string text(size, '\0');
  return read(fd, text.data(), size) == static_cast<ssize_t>(size) ? text : "";
}

// Opens the endpoints of process number `process` (0 or 1) of two processes with `per_process` ranks each.
Endpoints OpenPart(Transport& transport, int process, int per_process, const std::string& other, uint64_t epoch) {
  std::vector<Transport::Peer> peers;
  for (int rank = 0; rank < 2 * per_process; ++rank) {
    const bool local = rank / per_process == process;
    peers.push_back({local ? transport.address() : other, local});
  }
  auto endpoints = transport.Open(epoch, peers);
  if (!endpoints.ok()) {
    std::fprintf(stderr, "%s\n", endpoints.status().ToString().c_str());
    std::abort();
  }
  return *std::move(endpoints);
}

// Runs all-reduces over all ranks of both processes. Returns 0 if all results are right, otherwise 1.
int SumTogether(Endpoints& endpoints) {
  std::atomic<int> wrong{0};
  OnAll(endpoints, [&](Endpoint& e) {
    std::vector<int> members(static_cast<size_t>(e.size()));
    std::iota(members.begin(), members.end(), 0);
    auto group = *MakeGroup(e, members, 0);
    const float expected = static_cast<float>(e.size() * (e.size() + 1) / 2);
    for (int round = 0; round < 20; ++round) {
      for (size_t count : {size_t{1}, size_t{1000}, size_t{300'001}}) {
        std::vector<float> data(count, static_cast<float>(e.rank() + 1));
        const absl::Status status = group->AllReduce(BytesOf(data), DType::kF32, ReduceKind::kSum);
        if (!status.ok()) {
          std::fprintf(stderr, "rank %d: %s\n", e.rank(), status.ToString().c_str());
          ++wrong;
          return;
        }
        for (float x : data) wrong += x != expected;
      }
    }
    if (!group->Barrier().ok()) ++wrong;
  });
  return wrong == 0 ? 0 : 1;
}

int SumThenHang(Endpoints& endpoints) {
  const int result = SumTogether(endpoints);
  if (result == 0) pause();
  return result;
}

// After the sums, starts to send a message and then hangs, so that the message stays incomplete.
int SumThenSendAndHang(Endpoints& endpoints) {
  if (SumTogether(endpoints) != 0) return 1;
  std::vector<std::byte> data(32 << 20);
  auto send = endpoints[0]->Send(0, 99, data);
  pause();
  return 0;
}

const std::map<std::string, int (*)(Endpoints&)> kRoles = {
    {"sum", SumTogether}, {"hang", SumThenHang}, {"send", SumThenSendAndHang}};

int Child(char** argv) {
  auto transport = MakeUcxTransport();
  if (!transport.ok()) return 2;
  WriteText(4, (*transport)->address());
  const std::string other = ReadText(3);
  Endpoints endpoints = OpenPart(**transport, 1, std::atoi(argv[4]), other, std::strtoull(argv[3], nullptr, 10));
  return kRoles.at(argv[2])(endpoints);
}

// The other process. The destructor kills it.
class Peer {
 public:
  Peer(const std::string& role, uint64_t epoch, int per_process, const std::string& tls) {
    int down[2], up[2];
    if (pipe2(down, O_CLOEXEC) != 0 || pipe2(up, O_CLOEXEC) != 0) std::abort();
    // Copies the descriptors to numbers from 10 up, so that the child can move them to 3 and 4 without a conflict.
    const int in = fcntl(down[0], F_DUPFD_CLOEXEC, 10), out = fcntl(up[1], F_DUPFD_CLOEXEC, 10);
    const std::string epoch_text = std::to_string(epoch), per_text = std::to_string(per_process);
    if (!tls.empty()) setenv("UCX_TLS", tls.c_str(), 1);
    pid_ = fork();
    if (pid_ == 0) {
      dup2(in, 3);
      dup2(out, 4);
      execl("/proc/self/exe", "comm_process_test", "--child", role.c_str(), epoch_text.c_str(), per_text.c_str(),
            nullptr);
      _exit(127);
    }
    if (!tls.empty()) unsetenv("UCX_TLS");
    for (int fd : {in, out, down[0], up[1]}) close(fd);
    to_ = down[1];
    from_ = up[0];
  }
  ~Peer() {
    if (pid_ > 0) {
      Kill();
      (void)Exit();
    }
    close(to_);
    close(from_);
  }
  std::string Meet(const std::string& own_address) {
    WriteText(to_, own_address);
    return ReadText(from_);
  }
  void Kill() { kill(pid_, SIGKILL); }
  int Exit() {
    int status = 0;
    waitpid(pid_, &status, 0);
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }

 private:
  pid_t pid_ = -1;
  int to_ = -1, from_ = -1;
};

struct Setting {
  std::string name, tls;
};
class ProcessTest : public ::testing::TestWithParam<Setting> {
 protected:
  std::unique_ptr<Transport> Make() {
    if (!GetParam().tls.empty()) setenv("UCX_TLS", GetParam().tls.c_str(), 1);
    auto transport = MakeUcxTransport();
    if (!GetParam().tls.empty()) unsetenv("UCX_TLS");
    if (!transport.ok()) {
      ADD_FAILURE() << transport.status();
      std::abort();
    }
    return *std::move(transport);
  }
};
INSTANTIATE_TEST_SUITE_P(All, ProcessTest, ::testing::Values(Setting{"default", ""}, Setting{"tcp", "tcp,self"}),
                         [](const auto& info) { return info.param.name; });

TEST_P(ProcessTest, TwoProcessesComputeTheRightSums) {
  auto transport = Make();
  for (int per_process : {1, 2}) {
    const uint64_t epoch = static_cast<uint64_t>(per_process);
    Peer peer("sum", epoch, per_process, GetParam().tls);
    Endpoints endpoints = OpenPart(*transport, 0, per_process, peer.Meet(transport->address()), epoch);
    EXPECT_EQ(SumTogether(endpoints), 0);
    EXPECT_EQ(peer.Exit(), 0);
  }
}

TEST_P(ProcessTest, AbortFreesTheSurvivorOfAKilledPeerForANewEpoch) {
  auto transport = Make();
  for (const char* role : {"hang", "send"}) {
    const uint64_t epoch = role[0] == 'h' ? 1 : 3;
    const absl::Status cause = absl::UnavailableError("worker b was lost");
    {
      Peer peer(role, epoch, 1, GetParam().tls);
      Endpoints endpoints = OpenPart(*transport, 0, 1, peer.Meet(transport->address()), epoch);
      ASSERT_EQ(SumTogether(endpoints), 0);
      std::vector<std::byte> in(32 << 20);
      std::unique_ptr<Request> receive = role[0] == 's' ? endpoints[0]->Recv(1, 99, in) : nullptr;
      peer.Kill();
      (void)peer.Exit();
      auto blocked = std::async(std::launch::async, [&] {
        auto group = *MakeGroup(*endpoints[0], {0, 1}, 5);
        std::vector<float> data(1 << 20, 1.0f);
        absl::Status status;
        while (status.ok()) status = group->AllReduce(BytesOf(data), DType::kF32, ReduceKind::kSum);
        return status;
      });
      SleepMillis(200);
      const MonotonicTime start = Clock::Real().Now();
      endpoints[0]->Abort(cause);
      const absl::Status status = blocked.get();
      // Over TCP, the surviving process may notice the lost connection before its own abort.
      EXPECT_TRUE(status == cause || (!GetParam().tls.empty() && status.code() == absl::StatusCode::kUnavailable))
          << status;
      if (receive != nullptr) (void)receive->Wait();   // the message may or may not have arrived before the abort
      endpoints.clear();
      EXPECT_LT(Clock::Real().Now() - start, std::chrono::seconds(1));
    }
    Peer again("sum", epoch + 1, 1, GetParam().tls);
    Endpoints endpoints = OpenPart(*transport, 0, 1, again.Meet(transport->address()), epoch + 1);
    EXPECT_EQ(SumTogether(endpoints), 0);
    EXPECT_EQ(again.Exit(), 0);
  }
}

TEST_P(ProcessTest, AbortEndsAWaitForAPeerThatWasKilledBeforeItOpened) {
  auto transport = Make();
  std::string address;
  {
    Peer peer("sum", 1, 1, GetParam().tls);
    address = peer.Meet("127.0.0.1:1/0");   // a made-up address, not this process's
  }
  Endpoints endpoints = OpenPart(*transport, 0, 1, address, 1);
  std::vector<std::byte> data(8);
  auto send = endpoints[0]->Send(1, 1, data);
  SleepMillis(50);
  endpoints[0]->Abort(absl::AbortedError("over"));
  EXPECT_EQ(send->Wait(), absl::AbortedError("over"));
}

TEST_P(ProcessTest, LosingAPeerOfOneEpochDoesNotAffectAnotherEpoch) {
  auto transport = Make();
  Peer lost("hang", 1, 1, GetParam().tls), well("sum", 2, 1, GetParam().tls);
  const std::string lost_address = lost.Meet(transport->address()), well_address = well.Meet(transport->address());
  Endpoints a = OpenPart(*transport, 0, 1, lost_address, 1), b = OpenPart(*transport, 0, 1, well_address, 2);
  ASSERT_EQ(SumTogether(a), 0);
  lost.Kill();
  std::vector<std::byte> data(1 << 20);
  auto stuck = a[0]->Recv(1, 1, data);
  EXPECT_EQ(SumTogether(b), 0);
  EXPECT_EQ(well.Exit(), 0);
  a[0]->Abort(absl::UnavailableError("worker b was lost"));
  EXPECT_FALSE(stuck->Wait().ok());
}

}  // namespace

int ChildMain(char** argv) { return Child(argv); }

}  // namespace alpa::comm

int main(int argc, char** argv) {
  if (argc == 5 && std::string(argv[1]) == "--child") return alpa::comm::ChildMain(argv);
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
