// Converts plans, executables and their parts to and from messages (proto/plan.proto), for the wire and for files.
//
// Threads: pure functions.
// Errors:  FromProto returns kInvalidArgument if a message is not well-formed. The results of FromProto are not
//          verified, except that a mesh has passed cluster::Check. The caller must call Verify on a plan, an executable
//          or a role table.
#pragma once

#include "absl/status/statusor.h"
#include "plan/executable.h"
#include "plan/plan.h"

namespace alpa::proto {
class Plan;
class Executable;
class Roles;
class LeafPlacement;
class Mesh;
}  // namespace alpa::proto

namespace alpa::plan {

void ToProto(const Plan& plan, proto::Plan* out);
absl::StatusOr<Plan> FromProto(const proto::Plan& in);
void ToProto(const Executable& executable, proto::Executable* out);
absl::StatusOr<Executable> FromProto(const proto::Executable& in);
void ToProto(const Roles& roles, proto::Roles* out);
absl::StatusOr<Roles> FromProto(const proto::Roles& in);
void ToProto(const LeafPlacement& placement, proto::LeafPlacement* out);
absl::StatusOr<LeafPlacement> FromProto(const proto::LeafPlacement& in);
void ToProto(const cluster::Mesh& mesh, proto::Mesh* out);
absl::StatusOr<cluster::Mesh> FromProto(const proto::Mesh& in);

// Returns a hash of everything in the plan except its prediction.
uint64_t Fingerprint(const Plan& plan);

}  // namespace alpa::plan
