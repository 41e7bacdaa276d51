#include "worker/core/coverage.h"

#include <algorithm>

#include "base/status.h"

namespace alpa::worker {
namespace {
// The largest number of boxes in the missing part of one leaf. Each put of a small region can add a few boxes. Without
// a limit, a hostile client could make the list grow without end.
constexpr size_t kMaxBoxes = 20'000;
}  // namespace

Coverage::Coverage(const std::vector<Region>& needed) {
  for (const Region& box : needed) {
    std::vector<Region> fresh{box};
    if (Empty(box)) continue;
    for (const Region& have : needed_) fresh = Subtract(fresh, have);
    needed_.insert(needed_.end(), fresh.begin(), fresh.end());
  }
  missing_ = needed_;
}

absl::Status Coverage::Begin(const Region& region) {
  for (const Region& other : writing_) {
    if (Intersect(region, other)) {
      return absl::UnavailableError(absl::StrFormat(
          "another put is writing %s, which overlaps the new put of %s; try again", ToString(other), ToString(region)));
    }
  }
  std::vector<Region> missing = Subtract(missing_, region);
  if (missing.size() > kMaxBoxes) {
    return absl::ResourceExhaustedError(
        "scattered puts split the missing part of the leaf into more than 20000 boxes; put larger regions");
  }
  for (const Region& box : needed_) {
    if (std::optional<Region> both = Intersect(box, region)) missing.push_back(*std::move(both));
  }
  missing_ = std::move(missing);
  writing_.push_back(region);
  return absl::OkStatus();
}

void Coverage::End(const Region& region, bool complete) {
  const auto found = std::find(writing_.begin(), writing_.end(), region);
  ALPA_CHECK(found != writing_.end());
  writing_.erase(found);
  if (complete) missing_ = Subtract(missing_, region);
}

bool Coverage::Covers(const Region& region) const {
  return std::none_of(missing_.begin(), missing_.end(),
                      [&](const Region& box) { return Intersect(box, region).has_value(); });
}

std::string Coverage::Missing() const { return missing_.empty() ? "nothing" : ToString(missing_.front()); }

}  // namespace alpa::worker
