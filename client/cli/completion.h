// Scripts that teach a shell the commands and flags of `alpa`.
//
// Threads: pure functions.
#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace alpa::client {

struct CommandWords {
  std::string name, summary;
  std::vector<std::string> flags;      // without "--"
  std::vector<std::string> arguments;  // words that may follow; empty: file names
};
// `shell` is bash, zsh or fish.
std::string CompletionScript(absl::string_view shell, const std::vector<CommandWords>& commands);

}  // namespace alpa::client
