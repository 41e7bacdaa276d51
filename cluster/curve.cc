#include "cluster/curve.h"

#include <algorithm>
#include <cmath>

#include "base/status.h"

namespace alpa::cluster {

double BetweenPoints(double x, double x0, double y0, double x1, double y1) {
  return y0 * std::pow(y1 / y0, std::log(x / x0) / std::log(x1 / x0));
}

double Curve::Seconds(double amount) const {
  if (points.empty()) return 0;
  if (amount <= points.front().amount) return points.front().seconds;
  if (amount >= points.back().amount) return points.back().seconds * (amount / points.back().amount);
  const auto after = std::upper_bound(points.begin(), points.end(), amount,
                                      [](double value, const CurvePoint& point) { return value < point.amount; });
  const CurvePoint& hi = *after;
  const CurvePoint& lo = *(after - 1);
  return BetweenPoints(amount, lo.amount, lo.seconds, hi.amount, hi.seconds);
}

Curve Curve::Line(double latency, double per_second) {
  Curve curve;
  for (double amount = 1; amount <= 0x1p40; amount *= 2)
    curve.points.push_back({amount, latency + amount / per_second});
  return curve;
}

absl::Status Check(const Curve& curve) {
  double last = 0;
  for (const CurvePoint& point : curve.points) {
    if (!(point.amount > last) || !std::isfinite(point.amount))
      return InvalidArgument("the amounts of a curve do not increase at amount %g", point.amount);
    if (!(point.seconds > 0) || !std::isfinite(point.seconds))
      return InvalidArgument("a curve has %g seconds at amount %g; expected a positive, finite time", point.seconds,
                             point.amount);
    last = point.amount;
  }
  return absl::OkStatus();
}

}  // namespace alpa::cluster
