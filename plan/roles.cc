#include "plan/roles.h"

#include <set>

#include "base/status.h"

namespace alpa::plan {

int Roles::StateOutputOf(int parameter) const {
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (outputs[i].kind == OutputRole::Kind::kState && outputs[i].state_input == parameter) return static_cast<int>(i);
  }
  return -1;
}

absl::Status Verify(const Roles& roles, const graph::Graph& program) {
  if (roles.inputs.size() != program.parameters().size()) {
    return InvalidArgument("the role table has %d inputs, but the program has %d parameters", roles.inputs.size(),
                           program.parameters().size());
  }
  if (roles.outputs.size() != program.results().size()) {
    return InvalidArgument("the role table has %d outputs, but the program has %d results", roles.outputs.size(),
                           program.results().size());
  }
  std::set<std::pair<bool, std::string>> paths;
  for (const InputRole& input : roles.inputs) {
    if (input.path.empty()) return InvalidArgument("an input of the role table has no path");
    if (!paths.insert({true, input.path}).second) return InvalidArgument("two inputs have the path %s", input.path);
  }
  std::vector<int> output_of(roles.inputs.size(), -1);
  for (size_t i = 0; i < roles.outputs.size(); ++i) {
    const OutputRole& output = roles.outputs[i];
    if (output.path.empty()) return InvalidArgument("output %d of the role table has no path", i);
    if (!paths.insert({false, output.path}).second) return InvalidArgument("two outputs have the path %s", output.path);
    if (output.kind != OutputRole::Kind::kState) continue;
    const int input = output.state_input;
    if (input < 0 || input >= static_cast<int>(roles.inputs.size()) ||
        roles.inputs[input].kind != InputRole::Kind::kState) {
      return InvalidArgument("output %s replaces input %d, which is not a state input", output.path, input);
    }
    if (output_of[input] >= 0) {
      return InvalidArgument("state input %s is replaced by two outputs", roles.inputs[input].path);
    }
    output_of[input] = static_cast<int>(i);
    const graph::Shape& before = program.shape(program.parameters()[input]);
    const graph::Shape& after = program.shape(program.results()[i]);
    if (before != after) {
      return InvalidArgument("state leaf %s comes in as %s and goes out as %s; state must keep shape and dtype",
                             roles.inputs[input].path, before.ToString(), after.ToString());
    }
  }
  for (size_t i = 0; i < roles.inputs.size(); ++i) {
    if (roles.inputs[i].kind == InputRole::Kind::kState && output_of[i] < 0) {
      return InvalidArgument("state input %s is not replaced by any output; make it a batch leaf, or return it",
                             roles.inputs[i].path);
    }
  }
  return absl::OkStatus();
}

}  // namespace alpa::plan
