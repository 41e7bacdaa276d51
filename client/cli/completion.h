// Writes shell completion scripts for the commands and flags of `alpa`.
//
// Threads: pure functions.
#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace alpa::client {

// The words that a shell can complete for one command.
struct CommandWords {
  std::string name, summary;
  std::vector<std::string> flags;      // without "--"
  std::vector<std::string> arguments;  // words that may follow the name; empty: file names are completed
};
// Returns the completion script. `shell`: bash, zsh or fish.
std::string CompletionScript(absl::string_view shell, const std::vector<CommandWords>& commands);

}  // namespace alpa::client
