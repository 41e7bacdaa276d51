#include "plan/verify_progress.h"

#include <algorithm>
#include <map>

#include "base/status.h"
#include "plan/reshard.h"

namespace alpa::plan {
namespace {

// The maximum number of events of one mesh in one step. This limit bounds the time and memory of the check.
constexpr size_t kMaxEvents = 10'000'000;

// An instruction, or a collective inside a RUN, at which the devices of a mesh wait for other devices.
struct Event {
  enum class Kind : uint8_t { kSend, kRecv, kGroup } kind = Kind::kGroup;
  int32_t target = 0;                // kSend and kRecv: the edge. kGroup: the index of the axis set
  int32_t round = 0;                 // the number of earlier SENDs or RECVs on this edge
  int32_t at = 0, inner = -1;        // index in the list; index in the body if that instruction is a loop, else -1
  int32_t loop_round = 0;
  const graph::Op* op = nullptr;     // the collective, if it is inside a RUN
};

// A set of mesh axes along which collectives run.
struct AxisSet {
  std::vector<std::vector<int64_t>> groups;
  std::vector<int32_t> group_of;     // one entry per position in the mesh: the index of its group
  std::vector<int64_t> arrived;      // one entry per group: the number of members that wait at the current event
};

// The events of a mesh, in order. All devices of the mesh go through the same events.
struct Script {
  std::vector<Event> events;
  std::vector<AxisSet> axis_sets;
  std::map<std::vector<int64_t>, int32_t> number_of_axes;
};

// A device of a mesh and its progress.
struct Participant {
  int32_t mesh = 0;
  int64_t position = 0;
  size_t next = 0;                   // index of the first event that the device has not passed yet
  bool waiting = false;              // the device has entered event `next`
  int64_t missing = 0;               // at a SEND or RECV: the number of peers that have not entered the same round
};

class Progress {
 public:
  explicit Progress(const Executable& executable) : executable_(executable), scripts_(executable.meshes.size()) {}

  absl::Status Run() {
    sent_.assign(executable_.edges.size(), 0);
    received_.assign(executable_.edges.size(), 0);
    for (size_t m = 0; m < scripts_.size(); ++m) {
      ALPA_RETURN_IF_ERROR(Expand(executable_.mesh_programs[m].instructions, scripts_[m], -1, 0));
    }
    ALPA_RETURN_IF_ERROR(CountRounds());
    for (size_t m = 0; m < executable_.meshes.size(); ++m) {
      first_.push_back(static_cast<int>(participants_.size()));
      for (int64_t position = 0; position < executable_.meshes[m].size(); ++position) {
        participants_.push_back({static_cast<int32_t>(m), position});
      }
    }
    FindPeers();
    for (int i = 0; i < static_cast<int>(participants_.size()); ++i) work_.push_back(i);
    while (!work_.empty()) {
      const int i = work_.back();
      work_.pop_back();
      Enter(i);
    }
    for (const Participant& p : participants_) {
      if (p.next < scripts_[p.mesh].events.size()) return InvalidArgument("deadlock: %s", WhyStuck(p));
    }
    return absl::OkStatus();
  }

 private:
  // Appends the events of a list, or of the body of the loop at index `loop_at` (-1: not in a loop).
  absl::Status Expand(const std::vector<Instruction>& instructions, Script& script, int32_t loop_at,
                      int32_t loop_round) {
    for (size_t i = 0; i < instructions.size(); ++i) {
      Event event;
      event.at = loop_at < 0 ? static_cast<int32_t>(i) : loop_at;
      event.inner = loop_at < 0 ? -1 : static_cast<int32_t>(i);
      event.loop_round = loop_round;
      const auto& action = instructions[i].action;
      if (const auto* send = std::get_if<SendInstruction>(&action)) {
        Add(script, event, Event::Kind::kSend, send->edge);
      } else if (const auto* recv = std::get_if<RecvInstruction>(&action)) {
        Add(script, event, Event::Kind::kRecv, recv->edge);
      } else if (const auto* broadcast = std::get_if<BroadcastInstruction>(&action)) {
        Add(script, event, Event::Kind::kGroup, AxesOf(script, broadcast->mesh_axes));
      } else if (const auto* collective = std::get_if<CollectiveInstruction>(&action)) {
        Add(script, event, Event::Kind::kGroup, AxesOf(script, collective->mesh_axes));
      } else if (const auto* run = std::get_if<RunInstruction>(&action)) {
        for (const graph::Op* op : CollectivesOf(run->program)) {
          event.op = op;
          Add(script, event, Event::Kind::kGroup, AxesOf(script, op->as<graph::CollectiveAttrs>().mesh_axes));
          if (script.events.size() > kMaxEvents) break;
        }
      } else if (const auto* loop = std::get_if<LoopInstruction>(&action)) {
        const size_t begin = script.events.size();
        ALPA_RETURN_IF_ERROR(Expand(loop->body, script, static_cast<int32_t>(i), 0));
        const size_t end = script.events.size();
        for (int64_t round = 1; round < loop->count && end > begin && script.events.size() <= kMaxEvents; ++round) {
          for (size_t e = begin; e < end; ++e) {
            Event again = script.events[e];
            again.loop_round = static_cast<int32_t>(round);
            Add(script, again, again.kind, again.target);
          }
        }
      }
      if (script.events.size() > kMaxEvents)
        return InvalidArgument("a mesh has more than %d sends, receives and collectives in one step", kMaxEvents);
    }
    return absl::OkStatus();
  }

  void Add(Script& script, Event event, Event::Kind kind, int32_t target) {
    event.kind = kind;
    event.target = target;
    if (kind != Event::Kind::kGroup) event.round = (kind == Event::Kind::kSend ? sent_ : received_)[target]++;
    script.events.push_back(event);
  }

  int32_t AxesOf(Script& script, const std::vector<int64_t>& axes) {
    const auto [known, added] = script.number_of_axes.try_emplace(axes, static_cast<int32_t>(script.axis_sets.size()));
    if (!added) return known->second;
    const cluster::Mesh& mesh = executable_.meshes[&script - scripts_.data()];
    AxisSet& set = script.axis_sets.emplace_back();
    set.groups = mesh.Groups(axes);
    set.arrived.assign(set.groups.size(), 0);
    set.group_of.resize(mesh.size());
    for (size_t g = 0; g < set.groups.size(); ++g) {
      for (int64_t member : set.groups[g]) set.group_of[member] = static_cast<int32_t>(g);
    }
    return known->second;
  }

  const std::vector<const graph::Op*>& CollectivesOf(int32_t program) {
    const auto [known, added] = collectives_.try_emplace(program);
    if (added) {
      for (const graph::Op& op : executable_.programs[program].graph.ops()) {
        if (graph::IsCollective(op.opcode)) known->second.push_back(&op);
      }
    }
    return known->second;
  }

  absl::Status CountRounds() const {
    for (size_t e = 0; e < executable_.edges.size(); ++e) {
      if (sent_[e] != received_[e]) {
        return InvalidArgument("edge %d: the number of sends (%d) differs from the number of receives (%d)", e,
                               sent_[e], received_[e]);
      }
      if (sent_[e] == 0) return InvalidArgument("edge %d is never used", e);
    }
    return absl::OkStatus();
  }

  void FindPeers() {
    std::map<DeviceId, int> number;
    for (size_t i = 0; i < participants_.size(); ++i) {
      number[executable_.meshes[participants_[i].mesh].devices[participants_[i].position]] = static_cast<int>(i);
    }
    peers_.resize(executable_.edges.size());
    for (size_t e = 0; e < executable_.edges.size(); ++e) {
      const Edge& edge = executable_.edges[e];
      auto& [from, to] = peers_[e];
      from.resize(executable_.meshes[edge.from_mesh.value()].size());
      to.resize(executable_.meshes[edge.to_mesh.value()].size());
      for (const Transfer& transfer : Transfers(edge, executable_.meshes)) {
        const int source = number.at(transfer.source), destination = number.at(transfer.destination);
        from[participants_[source].position].push_back(destination);
        to[participants_[destination].position].push_back(source);
      }
      // One SEND or RECV can have several messages to one peer. They count as one, so each list names a peer once.
      for (auto* side : {&from, &to}) {
        for (std::vector<int>& peers : *side) {
          std::sort(peers.begin(), peers.end());
          peers.erase(std::unique(peers.begin(), peers.end()), peers.end());
        }
      }
    }
  }

  const std::vector<int>& PeersOf(const Participant& p, const Event& event) const {
    const auto& [from, to] = peers_[event.target];
    return (event.kind == Event::Kind::kSend ? from : to)[p.position];
  }

  // The event at which `p` waits, or null.
  const Event* At(const Participant& p) const { return p.waiting ? &scripts_[p.mesh].events[p.next] : nullptr; }

  void Pass(int i) {
    participants_[i].waiting = false;
    ++participants_[i].next;
    work_.push_back(i);
  }

  // Device `i` enters its next event and meets the devices that already wait there. If two devices meet, only the later
  // one updates `missing`, and it does so for both devices.
  void Enter(int i) {
    Participant& p = participants_[i];
    Script& script = scripts_[p.mesh];
    if (p.next == script.events.size()) return;
    p.waiting = true;
    const Event& event = script.events[p.next];
    if (event.kind == Event::Kind::kGroup) {
      // The members of a group have the same events in the same order, so all waiting members are at the same event.
      AxisSet& set = script.axis_sets[event.target];
      const int32_t group = set.group_of[p.position];
      const std::vector<int64_t>& members = set.groups[group];
      if (++set.arrived[group] < static_cast<int64_t>(members.size())) return;
      set.arrived[group] = 0;
      for (int64_t member : members) Pass(first_[p.mesh] + static_cast<int>(member));
      return;
    }
    const std::vector<int>& peers = PeersOf(p, event);
    p.missing = static_cast<int64_t>(peers.size());
    for (int peer : peers) {
      const Event* theirs = At(participants_[peer]);
      if (theirs == nullptr || theirs->kind == Event::Kind::kGroup || theirs->target != event.target ||
          theirs->round != event.round) {
        continue;
      }
      --p.missing;
      if (--participants_[peer].missing == 0) Pass(peer);
    }
    if (p.missing == 0) Pass(i);
  }

  std::string Place(const Participant& p) const {
    if (p.next == scripts_[p.mesh].events.size()) return "at the end of its list";
    const Event& event = scripts_[p.mesh].events[p.next];
    std::string what;
    if (event.kind == Event::Kind::kSend) {
      what = absl::StrCat("SEND over edge ", event.target);
    } else if (event.kind == Event::Kind::kRecv) {
      what = absl::StrCat("RECV over edge ", event.target);
    } else {
      what = event.op != nullptr ? std::string(graph::NameOf(event.op->opcode)) : "a collective";
    }
    if (event.inner < 0) return absl::StrFormat("at instruction %d (%s)", event.at, what);
    return absl::StrFormat("at instruction %d of the loop at %d, round %d (%s)", event.inner, event.at,
                           event.loop_round, what);
  }

  // Returns a device for which `p` waits: the first peer that has not reached the event of `p` yet. Returns null if
  // there is no such device.
  const Participant* MissingPeer(const Participant& p) const {
    const Event& event = scripts_[p.mesh].events[p.next];
    if (event.kind == Event::Kind::kGroup) {
      const AxisSet& set = scripts_[p.mesh].axis_sets[event.target];
      for (int64_t member : set.groups[set.group_of[p.position]]) {
        const Participant& other = participants_[first_[p.mesh] + static_cast<int>(member)];
        if (other.next < p.next) return &other;
      }
      return nullptr;
    }
    for (int peer : PeersOf(p, event)) {
      const Participant& other = participants_[peer];
      const std::vector<Event>& events = scripts_[other.mesh].events;
      const auto entered = events.begin() + static_cast<int64_t>(std::min(other.next + 1, events.size()));
      const bool met = std::any_of(events.begin(), entered, [&](const Event& theirs) {
        return theirs.kind != Event::Kind::kGroup && theirs.target == event.target && theirs.round == event.round;
      });
      if (!met) return &other;
    }
    return nullptr;
  }

  std::string WhyStuck(const Participant& p) const {
    std::string text = absl::StrFormat("device %d of mesh %d waits forever %s", p.position, p.mesh, Place(p));
    if (const Participant* other = MissingPeer(p)) {
      absl::StrAppendFormat(&text, " for device %d of mesh %d, which is %s", other->position, other->mesh,
                            Place(*other));
    }
    return text;
  }

  const Executable& executable_;
  std::vector<Script> scripts_;                          // one entry per mesh
  std::map<int32_t, std::vector<const graph::Op*>> collectives_;  // key: the program
  std::vector<int32_t> sent_, received_;                 // one entry per edge: number of SENDs or RECVs in a step
  std::vector<int> first_;                               // one entry per mesh: its first device in `participants_`
  std::vector<Participant> participants_;
  // One pair per edge, for the source mesh and the destination mesh. Each half has one list per position in the mesh.
  // The list holds the participants with which the device at that position exchanges messages.
  std::vector<std::pair<std::vector<std::vector<int>>, std::vector<std::vector<int>>>> peers_;
  std::vector<int> work_;                                // participants that must enter their next event
};

}  // namespace

absl::Status VerifyProgress(const Executable& executable) { return Progress(executable).Run(); }

}  // namespace alpa::plan
