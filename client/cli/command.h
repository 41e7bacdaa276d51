// What each `alpa` command is made of, and what all of them share.
//
// Model:   stdout is data, stderr is for people. A command declares its flags, then runs, and answers with an exit code
//          (client/lib/outcome.h).
// Threads: one; Ctrl-C arrives through Session::interruption, from a thread that main() keeps.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "base/config.h"
#include "client/lib/interruption.h"
#include "client/lib/outcome.h"

namespace alpa::client {

// What every command is told.
struct Session {
  std::string address = kDefaultAddress;
  std::string format = "table";
  Interruption* interruption = nullptr;

  void Declare(Flags& flags);
  bool json() const { return format == "json"; }
  bool jsonl() const { return format == "jsonl"; }
};

class Command {
 public:
  virtual ~Command() = default;
  virtual std::string name() const = 0;
  virtual std::string summary() const = 0;
  virtual std::vector<Flags::Example> examples() const = 0;
  virtual void Declare(Flags& flags) = 0;
  virtual int Run() = 0;

  Session session;
};

std::vector<std::unique_ptr<Command>> AllCommands();
std::unique_ptr<Command> NewRunCommand();
std::unique_ptr<Command> NewSubmitCommand();
std::vector<std::unique_ptr<Command>> NewJobCommands();      // status, list, logs, stop, delete
std::vector<std::unique_ptr<Command>> NewPlanCommands();      // plan show, verify, lower, make
std::vector<std::unique_ptr<Command>> NewGeneralCommands();  // cluster, version, completion

// All flags of a command, ready to be parsed. The command must outlive them.
std::unique_ptr<Flags> FlagsOf(Command& command);

// Data. Flushed at once, so that a reader of a pipe follows; where nobody reads any more, the session is interrupted.
void Print(absl::string_view text, const Session& session);
// One line on stderr.
void Say(absl::string_view line);
// Says what failed and what to do next on stderr; returns the exit code. OK: nothing, 0.
int Report(const absl::Status& status, const Session& session, absl::string_view command);
// A command that was called wrongly: kExitUsage, once reported.
absl::Status UsageError(absl::string_view message);
// Lines may be redrawn on stderr.
bool FancyTerminal();

// `text` as one word of a shell command.
std::string ShellWord(absl::string_view text);

}  // namespace alpa::client
