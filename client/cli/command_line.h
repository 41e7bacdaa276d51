// Which command a command line names, and what that command is told.
//
// Model:   "alpa [flags for all] COMMAND [flags] [arguments]". A command is one word, or two ("plan show"). Flags before
//          it are those that every command has; they are handed on to it.
// Threads: pure functions.
// Errors:  kInvalidArgument with what to type instead, where that can be guessed.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace alpa::client {

struct CommandLine {
  std::string command;                 // empty: help for all, or the version
  std::vector<std::string> arguments;  // for the command, after its name
  bool version = false;
};
absl::StatusOr<CommandLine> SplitCommandLine(const std::vector<std::string>& words,
                                             const std::vector<std::string>& commands);

}  // namespace alpa::client
