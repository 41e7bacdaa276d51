#include "plan/verify_progress.h"

#include <algorithm>
#include <map>
#include <set>

#include "base/status.h"

namespace alpa::plan {
namespace {

constexpr size_t kMaxEvents = 10'000'000;

// A point at which a device waits for others.
struct Event {
  enum class Kind { kSend, kRecv, kGroup } kind = Kind::kGroup;
  int device = -1;                 // peer of a send or receive, as a number among all devices of all meshes
  int32_t tag = 0;
  std::vector<int64_t> mesh_axes;  // of a group operation
  std::string name;
};

struct Participant {
  int32_t mesh = 0;
  int64_t position = 0;
  std::vector<Event> events;
  size_t next = 0;
};

class Progress {
 public:
  explicit Progress(const Executable& executable) : executable_(executable) {}

  absl::Status Run() {
    int first = 0;
    for (const cluster::Mesh& mesh : executable_.meshes) {
      first_.push_back(first);
      first += static_cast<int>(mesh.size());
    }
    for (size_t m = 0; m < executable_.meshes.size(); ++m) {
      for (int64_t position = 0; position < executable_.meshes[m].size(); ++position) {
        Participant& participant = participants_.emplace_back();
        participant.mesh = static_cast<int32_t>(m);
        participant.position = position;
        ALPA_RETURN_IF_ERROR(Expand(executable_.mesh_programs[m].instructions, participant.events));
      }
    }
    bool moved = true;
    while (moved) {
      moved = false;
      for (size_t i = 0; i < participants_.size(); ++i) {
        while (Step(static_cast<int>(i))) moved = true;
      }
    }
    for (const Participant& p : participants_) {
      if (p.next == p.events.size()) continue;
      const Event& event = p.events[p.next];
      std::string peer;
      if (event.device >= 0) {
        const Participant& other = participants_[event.device];
        peer = absl::StrFormat(" with device %d of mesh %d (tag %d)", other.position, other.mesh, event.tag);
      }
      return InvalidArgument("deadlock: device %d of mesh %d waits for ever at %s%s", p.position, p.mesh, event.name, peer);
    }
    return absl::OkStatus();
  }

 private:
  absl::Status Expand(const std::vector<Instruction>& instructions, std::vector<Event>& events) {
    for (const Instruction& instruction : instructions) {
      if (const auto* send = std::get_if<SendInstruction>(&instruction.action)) {
        events.push_back({Event::Kind::kSend, first_[send->peer_mesh.value()] + send->peer_position, send->tag, {}, "SEND"});
      } else if (const auto* recv = std::get_if<RecvInstruction>(&instruction.action)) {
        events.push_back({Event::Kind::kRecv, first_[recv->peer_mesh.value()] + recv->peer_position, recv->tag, {}, "RECV"});
      } else if (const auto* broadcast = std::get_if<BroadcastInstruction>(&instruction.action)) {
        events.push_back({Event::Kind::kGroup, -1, 0, broadcast->mesh_axes, "BROADCAST"});
      } else if (const auto* collective = std::get_if<CollectiveInstruction>(&instruction.action)) {
        events.push_back({Event::Kind::kGroup, -1, 0, collective->mesh_axes, "COLLECTIVE"});
      } else if (const auto* run = std::get_if<RunInstruction>(&instruction.action)) {
        const StageProgram& program = executable_.programs[run->program];
        for (const graph::Op& op : program.graph.ops()) {
          if (!graph::IsCollective(op.opcode)) continue;
          events.push_back({Event::Kind::kGroup, -1, 0, op.as<graph::CollectiveAttrs>().mesh_axes,
                            absl::StrCat(std::string(graph::NameOf(op.opcode)), " of \"", program.name, "\"")});
        }
      } else if (const auto* loop = std::get_if<LoopInstruction>(&instruction.action)) {
        const size_t before = events.size();
        ALPA_RETURN_IF_ERROR(Expand(loop->body, events));
        const std::vector<Event> round(events.begin() + static_cast<int64_t>(before), events.end());
        for (int64_t i = 1; i < loop->count && !round.empty(); ++i) {
          if (events.size() + round.size() > kMaxEvents) break;
          events.insert(events.end(), round.begin(), round.end());
        }
      }
      if (events.size() > kMaxEvents) return InvalidArgument("more than %d messages in one step", kMaxEvents);
    }
    return absl::OkStatus();
  }

  // Lets device `i` pass its next event if everybody it needs stands there too.
  bool Step(int i) {
    Participant& p = participants_[i];
    if (p.next == p.events.size()) return false;
    const Event& event = p.events[p.next];
    if (event.kind == Event::Kind::kGroup) {
      const cluster::Mesh& mesh = executable_.meshes[p.mesh];
      for (const std::vector<int64_t>& group : mesh.Groups(event.mesh_axes)) {
        if (std::find(group.begin(), group.end(), p.position) == group.end()) continue;
        for (int64_t member : group) {
          const Participant& other = participants_[first_[p.mesh] + member];
          if (other.next == other.events.size()) return false;
          const Event& theirs = other.events[other.next];
          if (theirs.kind != event.kind || theirs.mesh_axes != event.mesh_axes || theirs.name != event.name) return false;
        }
        for (int64_t member : group) ++participants_[first_[p.mesh] + member].next;
        return true;
      }
      return false;
    }
    Participant& peer = participants_[event.device];
    if (peer.next == peer.events.size()) return false;
    const Event& theirs = peer.events[peer.next];
    const bool opposite = (event.kind == Event::Kind::kSend && theirs.kind == Event::Kind::kRecv) ||
                          (event.kind == Event::Kind::kRecv && theirs.kind == Event::Kind::kSend);
    if (!opposite || theirs.device != i || theirs.tag != event.tag) return false;
    ++p.next;
    ++peer.next;
    return true;
  }

  const Executable& executable_;
  std::vector<int> first_;   // number of each mesh's first device
  std::vector<Participant> participants_;
};

}  // namespace

absl::Status VerifyProgress(const Executable& executable) { return Progress(executable).Run(); }

}  // namespace alpa::plan
