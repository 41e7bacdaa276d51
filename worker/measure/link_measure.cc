#include "worker/measure/link_measure.h"

#include <algorithm>
#include <functional>
#include <memory>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"
#include "base/status.h"
#include "comm/collective.h"
#include "worker/measure/pinned.h"

namespace alpa::worker {
namespace {

constexpr double kPatience = 5e-3;  // seconds that the measurement of one number may take
// For this number of seconds, an end is busy between two messages, because a device also computes between messages.
// During this time, a thread that waits for a message falls asleep, and the message must wake it.
constexpr double kBusy = 100e-6;
constexpr int kExchanges = 6;    // maximum number per round; an end can be ahead by one message, not by a round
constexpr int kMaxRounds = 25;   // maximum number of rounds per measured number
constexpr uint64_t kEpoch = 1;
constexpr double kStuck = 5;  // seconds after the time limit until a link counts as broken
constexpr size_t kSmallest = 64, kLargest = 16 << 20;  // sizes of a curve, in bytes
// Every curve reaches at least this size in bytes. At this size, bandwidth dominates the time. Beyond the last point of
// a curve, the time is assumed to grow in proportion to the bytes.
constexpr size_t kAtLeast = 256 << 10;

// The work of one end in one exchange.
using Part = std::function<absl::Status()>;

void StayBusy(double seconds) {
  const TimeLimit limit(seconds);
  while (limit.left() > 0) {
  }
}

// One end of the link, with its buffers.
struct End {
  comm::Endpoint& endpoint;
  std::unique_ptr<kernels::CollectiveGroup> group;
  std::vector<float> in = std::vector<float>(2 * kLargest / sizeof(float), 0.5f), out = in;

  int peer() const { return 1 - endpoint.rank(); }
  std::span<std::byte> In(size_t bytes) { return std::as_writable_bytes(std::span(in)).first(bytes); }
  std::span<std::byte> Out(size_t bytes) { return std::as_writable_bytes(std::span(out)).first(bytes); }
  absl::Status Send(size_t bytes) { return endpoint.Send(peer(), 0, In(bytes))->Wait(); }
  absl::Status Recv(size_t bytes) { return endpoint.Recv(peer(), 0, Out(bytes))->Wait(); }
};

// Runs the two ends. If one end fails, or if they are not done kStuck seconds after the time limit, both ends are
// aborted, so that neither keeps waiting.
class Pair {
 public:
  Pair(End& a, End& b, const TimeLimit& limit)
      : a_(a), b_(b), watchdog_([this, patience = limit.left() + kStuck] { Watch(patience); }) {}
  ~Pair() {
    {
      MutexLock lock(mutex_);
      over_ = true;
      changed_.NotifyAll();
    }
    watchdog_.join();
  }

  // Runs both parts at the same time. Returns the seconds of one exchange in the fastest of several rounds, minus
  // `busy`. `busy` is the part of these seconds in which the ends compute.
  absl::StatusOr<double> Fastest(const Part& first, const Part& second, double busy) {
    ALPA_ASSIGN_OR_RETURN(const std::vector<double> tried, Times(first, second, 1, 2));
    const double once = std::max(*std::min_element(tried.begin(), tried.end()), 1e-9);
    const int exchanges = static_cast<int>(std::clamp(kPatience / 3 / once, 1.0, double{kExchanges}));
    const int rounds = static_cast<int>(std::clamp(kPatience / once / exchanges, 3.0, double{kMaxRounds}));
    ALPA_ASSIGN_OR_RETURN(const std::vector<double> seconds, Times(first, second, exchanges, rounds));
    return std::max(*std::min_element(seconds.begin(), seconds.end()) - busy, 1e-7);
  }

 private:
  // Returns one entry per round: the seconds per exchange at the first end.
  absl::StatusOr<std::vector<double>> Times(const Part& first, const Part& second, int exchanges, int rounds) {
    absl::Status other;
    std::thread thread([&] {
      const PinnedThread there(/*last=*/true);
      for (int i = 0; i < exchanges * rounds && other.ok(); ++i) other = second();
      if (!other.ok()) Abort(other);
    });
    const PinnedThread here(/*last=*/false);  // after the start of `thread`, which would inherit the pin
    std::vector<double> seconds;
    absl::Status status;
    for (int round = 0; round < rounds && status.ok(); ++round) {
      const MonotonicTime begin = Clock::Real().Now();
      for (int i = 0; i < exchanges && status.ok(); ++i) status = first();
      seconds.push_back(SecondsBetween(begin, Clock::Real().Now()) / exchanges);
    }
    if (!status.ok()) Abort(status);
    thread.join();
    status.Update(other);
    ALPA_RETURN_IF_ERROR(status);
    return seconds;
  }

  void Abort(const absl::Status& cause) {
    a_.endpoint.Abort(cause);
    b_.endpoint.Abort(cause);
  }

  void Watch(double patience) {
    const TimeLimit limit(patience);
    {
      MutexLock lock(mutex_);
      while (!over_ && limit.left() > 0) {
        changed_.WaitUntil(lock, limit.end());
      }
      if (over_) return;
    }
    Abort(absl::DeadlineExceededError("the link measurement timed out: a message did not arrive"));
  }

  End& a_;
  End& b_;
  Mutex mutex_;
  CondVar changed_;
  bool over_ ALPA_GUARDED_BY(mutex_) = false;
  std::thread watchdog_;  // declared last, because it uses the other members
};

// Runs one collective in which each end sends `bytes` bytes to the other.
absl::Status Collective(End& end, graph::Opcode opcode, size_t bytes) {
  switch (opcode) {
    case graph::Opcode::kAllReduce:
      return end.group->AllReduce(end.In(bytes), graph::DType::kF32, graph::ReduceKind::kMax);
    case graph::Opcode::kAllGather: return end.group->AllGather(end.In(bytes), end.Out(2 * bytes));
    case graph::Opcode::kReduceScatter:
      return end.group->ReduceScatter(end.In(2 * bytes), end.Out(bytes), graph::DType::kF32, graph::ReduceKind::kMax);
    default: return end.group->AllToAll(end.In(2 * bytes), end.Out(2 * bytes));
  }
}

// Returns a curve of seconds against bytes. Sizes grow by `factor`. Sizes above kAtLeast are measured only while there
// is time.
absl::StatusOr<cluster::Curve> MeasureCurve(const TimeLimit& limit, size_t factor,
                                            const std::function<absl::StatusOr<double>(size_t bytes)>& measure) {
  cluster::Curve curve;
  for (size_t bytes = kSmallest; bytes <= kLargest; bytes *= factor) {
    const double last = curve.points.empty() ? 0 : curve.points.back().seconds;
    if (bytes > kAtLeast && !limit.Allows(kPatience + 8 * static_cast<double>(factor) * last)) break;
    ALPA_ASSIGN_OR_RETURN(const double seconds, measure(bytes));
    curve.points.push_back({static_cast<double>(bytes), seconds});
  }
  MakeMonotone(curve);
  return curve;
}

}  // namespace

absl::StatusOr<cluster::LinkProfile> MeasureLink(comm::Endpoint& first, comm::Endpoint& second,
                                                 const TimeLimit& limit) {
  End a{first, nullptr}, b{second, nullptr};
  for (End* end : {&a, &b}) {
    ALPA_ASSIGN_OR_RETURN(end->group, comm::MakeGroup(end->endpoint, {0, 1}, 1));
  }
  Pair pair(a, b, limit);
  cluster::LinkProfile link;
  ALPA_ASSIGN_OR_RETURN(link.message,
                        MeasureCurve(TimeLimit(limit.left() / 3), 8, [&](size_t bytes) -> absl::StatusOr<double> {
    ALPA_ASSIGN_OR_RETURN(const double there_and_back, pair.Fastest(
        [&, bytes] {
          StayBusy(kBusy);
          const absl::Status sent = a.Send(bytes);
          return sent.ok() ? a.Recv(bytes) : sent;
        },
        [&, bytes] {
          const absl::Status received = b.Recv(bytes);
          if (received.ok()) StayBusy(kBusy);
          return received.ok() ? b.Send(bytes) : received;
        },
        2 * kBusy));
    return there_and_back / 2;
  }));
  // In a ring, each additional device adds two messages to an all-reduce, and one to the other collectives. The larger
  // number, two, is used for all collectives.
  link.seconds_per_member = 2 * link.message.points.front().seconds;
  const std::pair<graph::Opcode, cluster::Curve*> collectives[] = {
      {graph::Opcode::kAllReduce, &link.all_reduce},
      {graph::Opcode::kAllGather, &link.all_gather},
      {graph::Opcode::kReduceScatter, &link.reduce_scatter},
      {graph::Opcode::kAllToAll, &link.all_to_all}};
  double shares = std::size(collectives);
  for (const auto& [opcode, curve] : collectives) {
    // If no time is left, the curve stays empty, and the planner computes the collective's time from messages.
    const TimeLimit share(limit.left() / shares--);
    if (!share.Allows(kPatience)) continue;
    ALPA_ASSIGN_OR_RETURN(*curve, MeasureCurve(share, 16, [&, code = opcode](size_t bytes) {
      // The second end arrives early in every other exchange.
      bool early = false;
      return pair.Fastest(
          [&, bytes] {
            StayBusy(kBusy);
            return Collective(a, code, bytes);
          },
          [&, bytes]() mutable {
            early = !early;
            StayBusy(early ? 0.8 * kBusy : kBusy);
            return Collective(b, code, bytes);
          },
          kBusy);
    }));
  }
  return link;
}

absl::StatusOr<cluster::LinkProfile> MeasureLinkOf(comm::Transport& a, comm::Transport* b, const TimeLimit& limit) {
  const auto ranks = [&](int self) {
    return std::vector<comm::Transport::Peer>{{a.address(), self == 0 || b == nullptr},
                                              {b == nullptr ? a.address() : b->address(), self == 1 || b == nullptr}};
  };
  ALPA_ASSIGN_OR_RETURN(auto endpoints, a.Open(kEpoch, ranks(0)));
  if (b != nullptr) {
    ALPA_ASSIGN_OR_RETURN(auto others, b->Open(kEpoch, ranks(1)));
    for (auto& other : others) endpoints.push_back(std::move(other));
  }
  return MeasureLink(*endpoints.at(0), *endpoints.at(1), limit);
}

}  // namespace alpa::worker
