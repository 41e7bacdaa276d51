#include "worker/core/device_groups.h"

#include <algorithm>

#include "base/status.h"

namespace alpa::worker {
namespace {

void CollectAxes(const graph::Graph& graph, int32_t mesh, ChannelTable& table) {
  for (const graph::Op& op : graph.ops()) {
    if (const auto* attrs = std::get_if<graph::CollectiveAttrs>(&op.attrs)) table[{mesh, attrs->mesh_axes}] = 0;
    for (const auto& region : op.regions) CollectAxes(*region, mesh, table);
  }
}

void CollectAxes(const std::vector<plan::Instruction>& instructions, int32_t mesh, ChannelTable& table) {
  for (const plan::Instruction& instruction : instructions) {
    if (const auto* broadcast = std::get_if<plan::BroadcastInstruction>(&instruction.action)) {
      table[{mesh, broadcast->mesh_axes}] = 0;
    } else if (const auto* collective = std::get_if<plan::CollectiveInstruction>(&instruction.action)) {
      table[{mesh, collective->mesh_axes}] = 0;
    } else if (const auto* loop = std::get_if<plan::LoopInstruction>(&instruction.action)) {
      CollectAxes(loop->body, mesh, table);
    }
  }
}

}  // namespace

ChannelTable MakeChannelTable(const plan::Executable& executable) {
  ChannelTable table;
  for (const plan::StageProgram& program : executable.programs) {
    CollectAxes(program.graph, program.mesh.value(), table);
  }
  for (size_t m = 0; m < executable.mesh_programs.size(); ++m) {
    CollectAxes(executable.mesh_programs[m].instructions, static_cast<int32_t>(m), table);
  }
  uint32_t next = 0;
  for (auto& [key, channel] : table) channel = next++;
  return table;
}

int RankOf(const JobLayout& layout, DeviceId device) {
  for (size_t r = 0; r < layout.ranks.size(); ++r) {
    if (layout.ranks[r].device == device) return static_cast<int>(r);
  }
  return -1;
}

std::vector<int64_t> DeviceGroups::Members(const std::vector<int64_t>& mesh_axes) const {
  for (std::vector<int64_t>& group : executable_.meshes[device_.mesh.value()].Groups(mesh_axes)) {
    if (std::find(group.begin(), group.end(), device_.position) != group.end()) return std::move(group);
  }
  return {};
}

absl::StatusOr<kernels::CollectiveGroup*> DeviceGroups::GroupFor(std::span<const int64_t> mesh_axes) {
  const std::vector<int64_t> axes(mesh_axes.begin(), mesh_axes.end());
  const auto channel = channels_.find({device_.mesh.value(), axes});
  if (channel == channels_.end()) {
    return absl::InternalError("a collective names mesh axes for which the executable has no channel");
  }
  MutexLock lock(mutex_);
  ALPA_RETURN_IF_ERROR(aborted_);
  std::unique_ptr<kernels::CollectiveGroup>& group = groups_[axes];
  if (group == nullptr) {
    std::vector<int> members;
    const std::vector<DeviceId>& devices = executable_.meshes[device_.mesh.value()].devices;
    for (int64_t position : Members(axes)) members.push_back(RankOf(layout_, devices[position]));
    ALPA_ASSIGN_OR_RETURN(group, comm::MakeGroup(endpoint_, std::move(members), channel->second));
  }
  return group.get();
}

void DeviceGroups::Abort(const absl::Status& cause) {
  MutexLock lock(mutex_);
  if (aborted_.ok()) aborted_ = cause;
  for (auto& [axes, group] : groups_) {
    if (group != nullptr) group->Abort(cause);
  }
  endpoint_.Abort(cause);
}

}  // namespace alpa::worker
