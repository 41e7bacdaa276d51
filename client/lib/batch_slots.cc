#include "client/lib/batch_slots.h"

#include <algorithm>

namespace alpa::client {
namespace {

constexpr int64_t kSlots = 1024;    // maximum batch slots of a job; the coordinator and the workers refuse more
constexpr Bytes kMostBytes = kGiB;  // maximum size of all batches on the workers; two batches are always allowed

}  // namespace

BatchSlots::BatchSlots(int64_t batches, Bytes bytes_of_one, int64_t steps)
    : batches_(std::min(batches, steps)), steps_(steps) {
  const int64_t fit = std::clamp<int64_t>(kMostBytes / std::max<Bytes>(bytes_of_one, 1), 2, kSlots);
  if (batches_ > fit) window_ = fit / 2;
}

BatchSlots::Command BatchSlots::From(int64_t first) const {
  Command command;
  command.first = first;
  if (all_fit()) {
    command.last = steps_;
    command.slots = static_cast<int32_t>(std::min(batches_, steps_ - first + 1));
    command.free_after = first - 1;
    return command;
  }
  const int64_t window = (first - 1) / window_;
  command.last = std::min(steps_, (window + 1) * window_);
  command.first_slot = static_cast<int32_t>((first - 1) % (2 * window_));
  command.slots = static_cast<int32_t>(command.last - first + 1);
  command.free_after = std::max<int64_t>(0, (window - 1) * window_);
  return command;
}

}  // namespace alpa::client
