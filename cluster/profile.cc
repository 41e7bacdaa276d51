#include "cluster/profile.h"

#include <cmath>

#include "base/status.h"

namespace alpa::cluster {
namespace {

absl::Status CheckProducts(const DeviceProfile& profile, const std::vector<ProductPoint>& points) {
  for (const ProductPoint& p : points) {
    if (p.m < 1 || p.n < 1 || p.k < 1 || !(p.seconds > 0) || !std::isfinite(p.seconds)) {
      return InvalidArgument(
          "profile \"%s\" has a product %d x %d x %d of %g seconds; expected positive sizes and a positive, finite "
          "time",
          profile.name, p.m, p.n, p.k, p.seconds);
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status Check(const DeviceProfile& profile) {
  if (profile.products.empty()) return InvalidArgument("profile \"%s\" has no product of 32-bit floats", profile.name);
  ALPA_RETURN_IF_ERROR(CheckProducts(profile, profile.products));
  ALPA_RETURN_IF_ERROR(CheckProducts(profile, profile.half_products));
  for (double seconds : {profile.element_seconds, profile.division_seconds, profile.transcendental_seconds,
                         profile.reduced_seconds, profile.run_seconds, profile.slow_element_seconds,
                         profile.kernel_seconds, profile.program_seconds}) {
    if (!(seconds >= 0) || !std::isfinite(seconds))
      return InvalidArgument("profile \"%s\" has a cost of %g seconds; expected a finite time of at least 0",
                             profile.name, seconds);
  }
  return Check(profile.memory);
}

absl::Status Check(const LinkProfile& profile) {
  for (const Curve* curve :
       {&profile.message, &profile.all_reduce, &profile.all_gather, &profile.reduce_scatter, &profile.all_to_all}) {
    if (absl::Status status = Check(*curve); !status.ok())
      return InvalidArgument("link \"%s\": %s", profile.name, status.message());
  }
  if (!(profile.seconds_per_member >= 0) || !std::isfinite(profile.seconds_per_member))
    return InvalidArgument("link \"%s\" has a cost of %g seconds per member; expected a finite time of at least 0",
                           profile.name, profile.seconds_per_member);
  return absl::OkStatus();
}

}  // namespace alpa::cluster
