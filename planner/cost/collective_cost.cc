#include "planner/cost/collective_cost.h"

#include <algorithm>
#include <map>

namespace alpa::planner {

using graph::Graph;
using graph::Op;
using graph::Opcode;

namespace {

// For each operand, counts the bytes of the operand or of its result, whichever is larger. Returns the sum. In an
// all-gather or a reduce-scatter, the larger of the two is the full array.
double Larger(const Graph& graph, const Op& op) {
  double bytes = 0;
  for (size_t i = 0; i < op.operands.size(); ++i) {
    bytes += static_cast<double>(std::max(graph.shape(op.operands[i]).bytes(), graph.shape(op.results[i]).bytes()));
  }
  return bytes;
}

const cluster::Curve& CurveOf(const cluster::LinkProfile& link, Opcode opcode) {
  switch (opcode) {
    case Opcode::kAllReduce: return link.all_reduce;
    case Opcode::kAllGather: return link.all_gather;
    case Opcode::kReduceScatter: return link.reduce_scatter;
    default: return link.all_to_all;
  }
}

}  // namespace

int64_t GroupSize(const Op& op, const cluster::Mesh& mesh) {
  int64_t size = 1;
  for (int64_t axis : op.as<graph::CollectiveAttrs>().mesh_axes) size *= mesh.shape[axis];
  return size;
}

double CollectiveBytes(const Graph& graph, const Op& op, int64_t n) {
  if (n < 2) return 0;
  const double share = static_cast<double>(n - 1) / static_cast<double>(n);
  const double bytes = Larger(graph, op);
  switch (op.opcode) {
    case Opcode::kAllReduce: return 2 * bytes * share;
    case Opcode::kCollectivePermute: return bytes;
    default: return bytes * share;
  }
}

double CollectiveSeconds(const Graph& graph, const Op& op, const cluster::Mesh& mesh, const cluster::Cluster& cluster) {
  const std::vector<std::vector<int64_t>> groups = mesh.Groups(op.as<graph::CollectiveAttrs>().mesh_axes);
  if (groups.empty() || groups[0].size() < 2) return 0;
  const auto n = static_cast<int64_t>(groups[0].size());
  const double bytes = CollectiveBytes(graph, op, n);
  double slowest = 0;
  std::map<int, int> leaving;  // key: host; value: number of ring links that leave the host
  struct Crossing {
    double seconds;
    int host;
  };
  std::vector<Crossing> crossings;
  for (const std::vector<int64_t>& group : groups) {
    // Find the slowest link of the ring. Each member has a link to its successor.
    const cluster::LinkProfile* worst = nullptr;
    double worst_seconds = -1;
    int border = -1;
    for (size_t i = 0; i < group.size(); ++i) {
      const DeviceId a = mesh.devices[group[i]], b = mesh.devices[group[(i + 1) % group.size()]];
      const cluster::LinkProfile& link = cluster.LinkOf(a, b);
      const double seconds = link.message.Seconds(std::max(1.0, bytes));
      if (seconds > worst_seconds) worst_seconds = seconds, worst = &link;
      const int from = cluster.Find(a)->host;
      if (from != cluster.Find(b)->host) border = from, ++leaving[from];
    }
    const cluster::Curve& measured = CurveOf(*worst, op.opcode);
    double seconds = 0;
    if (measured.points.empty()) {
      // A ring algorithm has several rounds. In each of them, a device sends an equal share of the bytes.
      const double rounds = static_cast<double>(op.opcode == Opcode::kAllReduce ? 2 * (n - 1) : n - 1);
      seconds = rounds * worst->message.Seconds(std::max(1.0, bytes / rounds));
    } else {
      seconds = measured.Seconds(std::max(1.0, bytes)) + static_cast<double>(n - 2) * worst->seconds_per_member;
    }
    slowest = std::max(slowest, seconds);
    if (border >= 0) crossings.push_back({seconds, border});
  }
  for (const Crossing& crossing : crossings) {
    const double at_once = static_cast<double>(leaving[crossing.host]) / cluster.hosts[crossing.host].outside_messages;
    slowest = std::max(slowest, crossing.seconds * std::max(1.0, at_once));
  }
  return slowest;
}

}  // namespace alpa::planner
