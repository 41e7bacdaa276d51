#include "planner/simulate/simulate.h"

#include <algorithm>
#include <limits>
#include <map>
#include <optional>

#include "absl/strings/str_format.h"
#include "base/status.h"
#include "plan/reshard.h"
#include "plan/slot_sharing.h"
#include "planner/cost/collective_cost.h"
#include "planner/cost/program_cost.h"

namespace alpa::planner {

using cluster::Cluster;
using plan::Executable;
using plan::Instruction;
using plan::SlotId;

namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();

// Appends the instructions to `flat`, with loops unrolled.
void Flatten(const std::vector<Instruction>& instructions, std::vector<const Instruction*>& flat) {
  for (const Instruction& instruction : instructions) {
    const auto* loop = std::get_if<plan::LoopInstruction>(&instruction.action);
    if (loop == nullptr) {
      flat.push_back(&instruction);
      continue;
    }
    for (int64_t i = 0; i < loop->count; ++i) Flatten(loop->body, flat);
  }
}

// One round of an edge: the sending of one message along this edge.
struct Transfer {
  double from_ready = kNever, to_ready = kNever;  // time at which the sender and the receiver reach SEND and RECV
  double done = kNever;
};

// The state of one mesh.
struct Actor {
  std::vector<const Instruction*> list;
  size_t at = 0;               // index of the next instruction
  double left = 0;             // seconds that the current program still takes if no device slows it down
  double memory_share = 0;     // share of the program's time that moves bytes that are in no cache
  double waiting_share = 0;    // share of the program's time in collectives, in which devices wait for each other
  double delay_share = 0;      // extra wait in collectives without any core, as a share of the program's time
  double overhead = 0;         // seconds that the SENDs and RECVs since the last program cost (OverheadOf)
  bool running = false;        // whether the mesh runs a program
  Span span;                   // run of the current program
  std::map<SlotId, std::vector<std::pair<int, int>>> filling, draining;  // key: slot; value: open (edge, round) pairs
  std::map<int, int> sent, received;                                      // key: edge; value: number of rounds
};

class Simulator {
 public:
  Simulator(const Executable& executable, const Cluster& cluster) : executable_(executable), cluster_(cluster) {}

  absl::StatusOr<Simulation> Run() {
    const size_t meshes = executable_.meshes.size();
    out_.busy_seconds.assign(meshes, 0);
    out_.collective_seconds.assign(meshes, 0);
    out_.memory.resize(meshes);
    actors_.resize(meshes);
    cores_.resize(meshes);
    devices_.resize(meshes);
    for (size_t m = 0; m < meshes; ++m) {
      for (DeviceId device : executable_.meshes[m].devices) {
        if (cluster_.Find(device) == nullptr) {
          return InvalidArgument("the executable uses device %d, which the cluster does not have", device.value());
        }
      }
    }
    if (!cluster_.IsMeasured()) {
      return InvalidArgument("the cluster is not measured: some device has no host or no profile");
    }
    for (size_t m = 0; m < meshes; ++m) {
      AddMemory(static_cast<int>(m));
      for (size_t d = 0; d < executable_.meshes[m].devices.size(); ++d) {
        const cluster::Device& device = DeviceOf(static_cast<int>(m), d);
        cores_[m][device.host] += device.cores;
        devices_[m][device.host] += 1;
      }
      Flatten(executable_.mesh_programs[m].instructions, actors_[m].list);
    }
    for (const plan::StageProgram& program : executable_.programs) programs_.push_back(CostOf(program));
    for (const plan::Edge& edge : executable_.edges) {
      edge_seconds_.push_back(SecondsOf(edge));
      edge_overhead_.push_back(OverheadOf(edge));
    }
    rounds_.resize(executable_.edges.size());
    Go();
    out_.step_seconds = clock_;
    for (const auto& rounds : rounds_) {
      for (const Transfer& transfer : rounds) {
        if (transfer.done < kNever) out_.step_seconds = std::max(out_.step_seconds, transfer.done);
      }
    }
    return std::move(out_);
  }

 private:
  const cluster::Device& DeviceOf(int mesh, size_t position) const {
    return *cluster_.Find(executable_.meshes[mesh].devices[position]);
  }

  // Returns the number of devices, counted over all meshes, that share the memory and the cache of the host. Returns 1
  // if the devices do not slow down each other's memory traffic.
  double SharersOn(int host) const {
    if (cluster_.hosts[host].memory_streams <= 0) return 1;
    double sharers = 0;
    for (const auto& of_mesh : devices_) {
      if (const auto found = of_mesh.find(host); found != of_mesh.end()) sharers += found->second;
    }
    return sharers;
  }

  // Returns the cost of a program on the slowest kind of device of its mesh. Also records the temporary memory of the
  // program.
  ProgramCost CostOf(const plan::StageProgram& program) {
    const int m = program.mesh.value();
    const cluster::Mesh& mesh = executable_.meshes[m];
    const CollectiveCostFn collective = [&](const graph::Graph& graph, const graph::Op& op) {
      return CollectiveSeconds(graph, op, mesh, cluster_);
    };
    std::map<int, double> kinds;  // key: profile; value: the largest SharersOn of its devices
    for (size_t d = 0; d < mesh.devices.size(); ++d) {
      const cluster::Device& device = DeviceOf(m, d);
      double& sharers = kinds[device.profile];
      sharers = std::max(sharers, SharersOn(device.host));
    }
    ProgramCost worst;
    for (const auto& [kind, sharers] : kinds) {
      const cluster::DeviceProfile& profile = cluster_.profiles[kind];
      ProgramCost cost = EstimateProgramCost(program.graph, program.alias, profile, collective, sharers);
      cost.compute_seconds += profile.program_seconds;
      if (cost.compute_seconds >= worst.compute_seconds) worst = cost;
    }
    out_.memory[m].programs = std::max(out_.memory[m].programs, worst.temporary_bytes);  // the programs share one arena
    return worst;
  }

  // Returns the seconds of one round of an edge. A sender sends its messages one after the other. A receiver receives
  // its messages one after the other.
  double SecondsOf(const plan::Edge& edge) const {
    std::map<DeviceId, double> sending, receiving;
    double longest = 0;
    for (const plan::Transfer& transfer : plan::Transfers(edge, executable_.meshes)) {
      double bytes = static_cast<double>(graph::SizeOf(edge.shape.dtype));
      for (int64_t extent : transfer.region.size) bytes *= static_cast<double>(extent);
      const double seconds =
          cluster_.LinkOf(transfer.source, transfer.destination).message.Seconds(std::max(1.0, bytes));
      longest = std::max({longest, sending[transfer.source] += seconds, receiving[transfer.destination] += seconds});
    }
    return longest;
  }

  // Returns the seconds that a message costs its sender, in addition to the transfer. It costs its receiver the same
  // time. This is the o of LogP (Culler et al., 1993). Both the sender and the receiver post the message, sleep and are
  // woken. These steps take about as long as an empty message and its answer.
  double OverheadOf(const plan::Edge& edge) const {
    double longest = 0;
    for (const plan::Transfer& transfer : plan::Transfers(edge, executable_.meshes)) {
      longest = std::max(longest, 2 * cluster_.LinkOf(transfer.source, transfer.destination).message.Seconds(1));
    }
    return longest;
  }

  void AddMemory(int m) {
    const plan::MeshProgram& list = executable_.mesh_programs[m];
    MeshMemory& memory = out_.memory[m];
    for (const plan::Slot& slot : list.slots) {
      switch (slot.kind) {
        case plan::Slot::Kind::kState: memory.state += slot.shape.bytes(); break;
        case plan::Slot::Kind::kInput: memory.batch += slot.shape.bytes(); break;
        case plan::Slot::Kind::kAux: memory.aux += slot.shape.bytes(); break;
        case plan::Slot::Kind::kTemporary: break;
      }
    }
    for (Bytes size : plan::ShareSlots(list).buffer_sizes) memory.temporaries += size;
  }

  // ---- Simulated time of instructions and transfers ----

  // Returns the earliest time at which the actor's next instruction can run. At this time, all transfers of the buffers
  // that the instruction touches are done. 0: there are no such transfers; kNever: one of them has not started yet.
  double ReadyAt(const Actor& actor) const {
    double ready = 0;
    const auto wait = [&](const std::map<SlotId, std::vector<std::pair<int, int>>>& flights, SlotId slot) {
      const auto found = flights.find(slot);
      if (found == flights.end()) return;
      for (const auto& [edge, round] : found->second) ready = std::max(ready, rounds_[edge][round].done);
    };
    const Instruction& instruction = *actor.list[actor.at];
    if (const auto* run = std::get_if<plan::RunInstruction>(&instruction.action)) {
      for (SlotId slot : run->inputs) wait(actor.filling, slot);
      for (SlotId slot : run->outputs) wait(actor.filling, slot), wait(actor.draining, slot);
    } else if (const auto* send = std::get_if<plan::SendInstruction>(&instruction.action)) {
      wait(actor.filling, send->slot);
    } else if (const auto* recv = std::get_if<plan::RecvInstruction>(&instruction.action)) {
      wait(actor.filling, recv->slot);
      wait(actor.draining, recv->slot);
    }
    return ready;
  }

  Transfer& Round(int edge, int round) {
    if (static_cast<int>(rounds_[edge].size()) <= round) rounds_[edge].resize(round + 1);
    return rounds_[edge][round];
  }

  // Starts the transfer if the sender and the receiver have both reached it.
  void Arrived(int edge, int round) {
    Transfer& transfer = rounds_[edge][round];
    if (transfer.from_ready == kNever || transfer.to_ready == kNever) return;
    const plan::Edge& of = executable_.edges[edge];
    double& free = channel_[{of.from_mesh.value(), of.to_mesh.value()}];
    ++out_.messages;
    free = std::max({free, transfer.from_ready, transfer.to_ready}) + edge_seconds_[edge];
    transfer.done = free;
  }

  // Executes instructions of the mesh until it starts a program, has to wait or is done. Returns whether it executed
  // any.
  bool Advance(int m) {
    Actor& actor = actors_[m];
    bool moved = false;
    while (!actor.running && actor.at < actor.list.size() && ReadyAt(actor) <= clock_) {
      const Instruction& instruction = *actor.list[actor.at++];
      moved = true;
      if (const auto* run = std::get_if<plan::RunInstruction>(&instruction.action)) {
        for (SlotId slot : run->inputs) actor.filling.erase(slot);
        for (SlotId slot : run->outputs) actor.filling.erase(slot), actor.draining.erase(slot);
        const ProgramCost& cost = programs_[run->program];
        actor.left = cost.compute_seconds + cost.collective_seconds + actor.overhead;
        actor.overhead = 0;
        actor.waiting_share = actor.left > 0 ? cost.collective_seconds / actor.left : 0;
        actor.memory_share = actor.left > 0 ? cost.memory_seconds / actor.left : 0;
        actor.delay_share =
            actor.left > 0 ? static_cast<double>(cost.collectives) * kSchedulingDelay / actor.left : 0;
        actor.running = true;
        actor.span = {m, run->program, clock_, clock_};
        out_.collective_seconds[m] += cost.collective_seconds;
        out_.collectives += cost.collectives;
      } else if (const auto* send = std::get_if<plan::SendInstruction>(&instruction.action)) {
        const int round = actor.sent[send->edge]++;
        actor.overhead += edge_overhead_[send->edge];
        Round(send->edge, round).from_ready = clock_;
        actor.draining[send->slot].push_back({send->edge, round});
        Arrived(send->edge, round);
      } else if (const auto* recv = std::get_if<plan::RecvInstruction>(&instruction.action)) {
        const int round = actor.received[recv->edge]++;
        actor.overhead += edge_overhead_[recv->edge];
        Round(recv->edge, round).to_ready = clock_;
        actor.filling[recv->slot].push_back({recv->edge, round});
        Arrived(recv->edge, round);
      }
    }
    return moved;
  }

  // Returns the current speed of each mesh, relative to its speed with enough cores and memory bandwidth for all
  // devices. A mesh is as fast as its slowest device. The speed of a device depends on its share of the host's cores
  // and memory.
  std::vector<double> Rates() const {
    std::vector<double> wanted(cluster_.hosts.size(), 0), busy(cluster_.hosts.size(), 0);
    for (size_t m = 0; m < actors_.size(); ++m) {
      if (!actors_[m].running) continue;
      for (const auto& [host, cores] : cores_[m]) wanted[host] += cores;
      for (const auto& [host, devices] : devices_[m]) busy[host] += devices;
    }
    std::vector<double> rates(actors_.size(), 1);
    for (size_t m = 0; m < actors_.size(); ++m) {
      for (const auto& [host_index, cores] : cores_[m]) {
        const cluster::Host& host = cluster_.hosts[host_index];
        const double share = host.cores > 0 && wanted[host_index] > host.cores ? host.cores / wanted[host_index] : 1;
        // Devices that wait for a core do not use the memory at that time.
        const double crowd =
            host.memory_streams > 0 ? std::max(1.0, share * busy[host_index] / host.memory_streams) : 1;
        // Devices that wait in a collective leave their cores to the members that still compute. This helps only if no
        // other mesh runs on the host. Otherwise, the other mesh may get the cores first.
        const bool alone = wanted[host_index] <= cores;
        const double waiting = alone ? actors_[m].waiting_share : 0;
        rates[m] = std::min(
            rates[m], 1 / ((1 - waiting) / share + waiting + actors_[m].memory_share * (crowd - 1) / share +
                           actors_[m].delay_share * (1 - share)));
      }
    }
    return rates;
  }

  void Go() {
    while (true) {
      for (bool moved = true; moved;) {
        moved = false;
        for (size_t m = 0; m < actors_.size(); ++m) moved = Advance(static_cast<int>(m)) || moved;
      }
      const std::vector<double> rates = Rates();
      double next = kNever;
      for (size_t m = 0; m < actors_.size(); ++m) {
        const Actor& actor = actors_[m];
        if (actor.running) next = std::min(next, clock_ + actor.left / rates[m]);
        else if (actor.at < actor.list.size()) next = std::min(next, ReadyAt(actor));
      }
      if (next == kNever) return;  // all meshes are done, because the verifier has checked that no list waits forever
      for (size_t m = 0; m < actors_.size(); ++m) {
        Actor& actor = actors_[m];
        if (!actor.running) continue;
        const double passed = next - clock_;
        out_.busy_seconds[m] += passed;
        actor.left -= passed * rates[m];
        if (actor.left > 1e-15 + 1e-12 * next) continue;
        actor.running = false;
        actor.span.end = next;
        out_.spans.push_back(actor.span);
      }
      clock_ = next;
    }
  }

  const Executable& executable_;
  const Cluster& cluster_;
  std::vector<ProgramCost> programs_;
  std::vector<double> edge_seconds_, edge_overhead_;
  std::vector<std::vector<Transfer>> rounds_;      // one entry per edge and round
  std::map<std::pair<int, int>, double> channel_;  // key: sending mesh, receiving mesh; value: end of the last transfer
  std::vector<Actor> actors_;
  std::vector<std::map<int, double>> cores_;       // one entry per mesh; key: host; value: cores that the mesh uses
  std::vector<std::map<int, double>> devices_;     // one entry per mesh; key: host; value: number of its devices there
  double clock_ = 0;
  Simulation out_;
};

}  // namespace

Bytes Simulation::peak_device_memory() const {
  Bytes peak = 0;
  for (const MeshMemory& mesh : memory) peak = std::max(peak, mesh.total());
  return peak;
}

absl::StatusOr<Simulation> Simulate(const Executable& executable, const Cluster& cluster) {
  return Simulator(executable, cluster).Run();
}

std::string Print(const Simulation& simulation) {
  constexpr double kMi = 1 << 20;
  std::string text = absl::StrFormat("step %.4g s, at most %.1f MiB per device\n", simulation.step_seconds,
                                     static_cast<double>(simulation.peak_device_memory()) / kMi);
  for (size_t m = 0; m < simulation.memory.size(); ++m) {
    const MeshMemory& memory = simulation.memory[m];
    absl::StrAppendFormat(&text,
                          "  mesh %d: busy %.4g s (%.0f %%), collectives %.4g s; MiB per device: state %.1f, batch "
                          "%.1f, aux %.1f, between programs %.1f, inside programs %.1f\n",
                          m, simulation.busy_seconds[m],
                          simulation.step_seconds > 0 ? 100 * simulation.busy_seconds[m] / simulation.step_seconds : 0,
                          simulation.collective_seconds[m], static_cast<double>(memory.state) / kMi,
                          static_cast<double>(memory.batch) / kMi, static_cast<double>(memory.aux) / kMi,
                          static_cast<double>(memory.temporaries) / kMi, static_cast<double>(memory.programs) / kMi);
  }
  return text;
}

}  // namespace alpa::planner
