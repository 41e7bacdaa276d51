// Splits a command line of `alpa` into the name of a command and the arguments of that command.
//
// Model:   "alpa [common flags] COMMAND [flags] [arguments]". A command name has one word, or two ("plan show"). Every
//          command has the common flags. Common flags before COMMAND become part of the command's arguments.
// Threads: pure functions.
// Errors:  kInvalidArgument, with a suggestion if a known word is similar to the unknown one.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace alpa::client {

struct CommandLine {
  std::string command;                 // empty: print the general help, or the version
  std::vector<std::string> arguments;  // the arguments of the command, without the command's name
  bool version = false;                // --version was given
};
absl::StatusOr<CommandLine> SplitCommandLine(const std::vector<std::string>& words,
                                             const std::vector<std::string>& commands);

}  // namespace alpa::client
