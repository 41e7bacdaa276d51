#include "tests/interpreter/job_directory.h"

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/status.h"
#include "graph/import.h"
#include "graph/simplify.h"

namespace alpa::testing {
namespace {

std::string ReadFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream bytes;
  bytes << in.rdbuf();
  return bytes.str();
}

plan::Roles ReadRoles(const nlohmann::json& job) {
  plan::Roles roles;
  for (const auto& input : job.at("inputs")) {
    const bool state = input.at("kind") == "state";
    roles.inputs.push_back({state ? plan::InputRole::Kind::kState : plan::InputRole::Kind::kBatch, input.at("path")});
  }
  for (const auto& output : job.at("outputs")) {
    const bool state = output.at("kind") == "state";
    roles.outputs.push_back({state ? plan::OutputRole::Kind::kState : plan::OutputRole::Kind::kAux, output.at("path"),
                             state ? output.at("state_input").get<int32_t>() : -1});
  }
  return roles;
}

}  // namespace

absl::StatusOr<SavedStep> ReadJobDirectory(const std::string& directory) {
  ALPA_ASSIGN_OR_RETURN(const graph::Graph imported, graph::ImportHlo(ReadFile(directory + "/program.hlo.pb")));
  SavedStep saved;
  saved.step.graph = graph::Simplify(imported);
  saved.step.roles = ReadRoles(nlohmann::json::parse(ReadFile(directory + "/job.json")));
  saved.imported_ops = imported.size();
  return saved;
}

}  // namespace alpa::testing
