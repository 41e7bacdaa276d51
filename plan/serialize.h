// Plans and executables on the wire and on disk (proto/plan.proto).
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
absl::StatusOr<Executable> FromProto(const proto::Executable& in);  // well-formed, not yet Verify'd
void ToProto(const Roles& roles, proto::Roles* out);
absl::StatusOr<Roles> FromProto(const proto::Roles& in);
void ToProto(const LeafPlacement& placement, proto::LeafPlacement* out);
absl::StatusOr<LeafPlacement> FromProto(const proto::LeafPlacement& in);
void ToProto(const cluster::Mesh& mesh, proto::Mesh* out);
absl::StatusOr<cluster::Mesh> FromProto(const proto::Mesh& in);

uint64_t Fingerprint(const Plan& plan);

}  // namespace alpa::plan
