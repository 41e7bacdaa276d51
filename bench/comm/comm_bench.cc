// Question: how fast are messages and collectives between two processes? For each size, prints the median and the best
//           of several runs after a warm-up. Checks the results.
//
//   comm_bench latency|bandwidth|allreduce|all [--bytes N] [--runs N] [--spin-us N]
//
// latency:   round trip of a message of 8 bytes, in microseconds.
// bandwidth: messages in one direction, two in progress, as in tag_bw of ucx_perftest. In MB/s (10^6 bytes).
// allreduce: f32 sum over 2 ranks. In MB/s, as "algorithm bandwidth": bytes of the array / seconds. With 2 ranks, the
//            bus bandwidth is the same number.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "comm/collective.h"
#include "comm/ucx/ucx_transport.h"

namespace alpa::comm {
namespace {

using Seconds = std::chrono::duration<double>;

struct Flags {
  std::string what = "all";
  size_t bytes = 0;
  int runs = 0;
  int spin_us = -1;
};

[[noreturn]] void Die(const absl::Status& status) {
  std::fprintf(stderr, "%s\n", status.ToString().c_str());
  std::exit(1);
}
void Need(const absl::Status& status) {
  if (!status.ok()) Die(status);
}
void Need(bool right, const char* what) {
  if (!right) Die(absl::InternalError(what));
}

double Now() {
  return std::chrono::duration_cast<Seconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

struct Times {
  double median, best, worst;
};
Times Summary(std::vector<double> seconds) {
  std::sort(seconds.begin(), seconds.end());
  return {seconds[seconds.size() / 2], seconds.front(), seconds.back()};
}

void Latency(Endpoint& endpoint, const Flags& flags) {
  const int runs = flags.runs > 0 ? flags.runs : 20'000, warm = runs / 10;
  uint64_t out = 0, in = 0;
  const int peer = 1 - endpoint.rank();
  std::vector<double> seconds;
  for (int i = 0; i < warm + runs; ++i) {
    const double start = Now();
    out = static_cast<uint64_t>(i);
    for (int turn = 0; turn < 2; ++turn) {
      if (turn == endpoint.rank()) Need(endpoint.Send(peer, 1, std::as_bytes(std::span(&out, 1)))->Wait());
      else Need(endpoint.Recv(peer, 1, std::as_writable_bytes(std::span(&in, 1)))->Wait());
    }
    Need(in == static_cast<uint64_t>(i), "latency: a message arrived with wrong data");
    if (i >= warm) seconds.push_back(Now() - start);
  }
  if (endpoint.rank() != 0) return;
  const Times t = Summary(seconds);
  std::printf("latency 8 B round trip: median %.1f us, best %.1f us, p99 %.1f us\n", t.median * 1e6, t.best * 1e6,
              seconds[seconds.size() * 99 / 100] * 1e6);
}

void Bandwidth(Endpoint& endpoint, const Flags& flags, size_t bytes) {
  const int runs = flags.runs > 0 ? flags.runs : 20, warm = 3;
  std::vector<std::byte> data(bytes, std::byte(endpoint.rank() == 0 ? 7 : 0)), ack(1);
  std::vector<double> seconds;
  std::unique_ptr<Request> previous;
  double start = Now();
  for (int i = 0; i < warm + runs; ++i) {
    std::unique_ptr<Request> request =
        endpoint.rank() == 0 ? endpoint.Send(1, 2, data) : endpoint.Recv(0, 2, data);
    if (previous != nullptr) Need(previous->Wait());
    previous = std::move(request);
    const double now = Now();
    if (i >= warm) seconds.push_back(now - start);
    start = now;
  }
  Need(previous->Wait());
  Need(data.front() == std::byte{7} && data.back() == std::byte{7}, "bandwidth: a message arrived with wrong data");
  if (endpoint.rank() == 0) {
    Need(endpoint.Recv(1, 3, ack)->Wait());
    return;
  }
  Need(endpoint.Send(0, 3, ack)->Wait());
  double total = 0;
  for (double s : seconds) total += s;
  const Times t = Summary(seconds);
  const double size = static_cast<double>(bytes);
  std::printf("bandwidth %9zu B: mean %.0f MB/s, median %.0f, best %.0f, worst %.0f\n", bytes,
              size * static_cast<double>(seconds.size()) / total / 1e6, size / t.median / 1e6, size / t.best / 1e6,
              size / t.worst / 1e6);
}

void AllReduce(Endpoint& endpoint, kernels::CollectiveGroup& group, const Flags& flags, size_t bytes) {
  const int runs = flags.runs > 0 ? flags.runs : bytes <= 65536 ? 2000 : 20, warm = std::max(3, runs / 10);
  std::vector<float> data(bytes / 4);
  std::vector<double> seconds;
  for (int i = 0; i < warm + runs; ++i) {
    std::fill(data.begin(), data.end(), static_cast<float>(endpoint.rank() + i));
    Need(group.Barrier());
    const double start = Now();
    Need(group.AllReduce(std::as_writable_bytes(std::span(data)), graph::DType::kF32, graph::ReduceKind::kSum));
    if (i >= warm) seconds.push_back(Now() - start);
    Need(data.front() == static_cast<float>(2 * i + 1) && data.back() == data.front(), "allreduce: the sum is wrong");
  }
  if (endpoint.rank() != 0) return;
  const Times t = Summary(seconds);
  std::printf("allreduce %9zu B: median %9.1f us, best %9.1f us, %7.0f MB/s\n", bytes, t.median * 1e6, t.best * 1e6,
              static_cast<double>(bytes) / t.median / 1e6);
}

void Work(Endpoint& endpoint, const Flags& flags) {
  auto group = MakeGroup(endpoint, {0, 1}, 0);
  Need(group.status());
  Need((*group)->Barrier());
  const bool all = flags.what == "all";
  if (all || flags.what == "latency") Latency(endpoint, flags);
  if (all || flags.what == "bandwidth") {
    for (size_t bytes : flags.bytes > 0 ? std::vector<size_t>{flags.bytes}
                                        : std::vector<size_t>{64 << 10, 1 << 20, 8 << 20, 64 << 20}) {
      Bandwidth(endpoint, flags, bytes);
    }
  }
  if (all || flags.what == "allreduce") {
    for (size_t bytes : flags.bytes > 0 ? std::vector<size_t>{flags.bytes}
                                        : std::vector<size_t>{8, 1 << 10, 16 << 10, 64 << 10, 128 << 10, 256 << 10,
                                                              1 << 20, 4 << 20, 16 << 20, 64 << 20}) {
      AllReduce(endpoint, **group, flags, bytes);
    }
  }
  Need((*group)->Barrier());
}

std::string ReadText(int fd) {
  char buffer[512];
  const ssize_t n = read(fd, buffer, sizeof(buffer));
  return n > 0 ? std::string(buffer, static_cast<size_t>(n)) : std::string();
}

void RunRank(int rank, int in, int out, const Flags& flags) {
  UcxOptions options;
  if (flags.spin_us >= 0) options.spin = std::chrono::microseconds(flags.spin_us);
  auto transport = MakeUcxTransport(options);
  Need(transport.status());
  const std::string mine = (*transport)->address();
  Need(write(out, mine.data(), mine.size()) == static_cast<ssize_t>(mine.size()),
       "cannot write the UCX address to the pipe between the processes");
  const std::string theirs = ReadText(in);
  std::vector<Transport::Peer> peers(2);
  peers[rank] = {mine, true};
  peers[1 - rank] = {theirs, false};
  auto endpoints = (*transport)->Open(1, peers);
  Need(endpoints.status());
  Work(*(*endpoints)[0], flags);
}

int Main(int argc, char** argv) {
  Flags flags;
  if (argc > 1) flags.what = argv[1];
  for (int i = 2; i + 1 < argc; i += 2) {
    const std::string name = argv[i];
    const long long value = std::atoll(argv[i + 1]);
    if (name == "--bytes") flags.bytes = static_cast<size_t>(value);
    else if (name == "--runs") flags.runs = static_cast<int>(value);
    else if (name == "--spin-us") flags.spin_us = static_cast<int>(value);
    else Die(absl::InvalidArgumentError("use --bytes, --runs or --spin-us; unknown flag " + name));
  }
  int up[2], down[2];
  Need(pipe(up) == 0 && pipe(down) == 0, "cannot create the pipes between the processes");
  const pid_t child = fork();
  if (child == 0) {
    RunRank(1, down[0], up[1], flags);
    std::fflush(stdout);
    _exit(0);
  }
  RunRank(0, up[0], down[1], flags);
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

}  // namespace
}  // namespace alpa::comm

int main(int argc, char** argv) { return alpa::comm::Main(argc, argv); }
