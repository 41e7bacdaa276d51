// The interface of an `alpa` command, and the functions that all commands share.
//
// Model:   Data goes to stdout. Messages to the user go to stderr. A command declares its flags, runs, and returns an
//          exit code (client/lib/outcome.h).
// Threads: single-threaded, with one exception: on Ctrl-C, a thread of main.cc triggers Session::interruption.
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

// The settings that every command has.
struct Session {
  std::string address = kDefaultAddress;
  std::string format = "table";          // format of stdout: table, json or jsonl
  Interruption* interruption = nullptr;  // null: the command cannot be interrupted

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
std::vector<std::unique_ptr<Command>> NewPlanCommands();     // plan show, verify, lower, make; simulate
std::vector<std::unique_ptr<Command>> NewGeneralCommands();  // cluster, version, completion

// Declares the flags of a command and of its session, and returns them, ready to be parsed. The command must outlive
// the flags.
std::unique_ptr<Flags> FlagsOf(Command& command);

// Writes data to stdout and flushes stdout, so that the reader of a pipe gets the data at once. If the write fails, for
// example because the reader has ended, triggers the session's interruption.
void Print(absl::string_view text, const Session& session);
// Writes one line to stderr.
void Say(absl::string_view line);
// Writes the error and a suggested next step to stderr, and returns the exit code of `status`. If `status` is OK,
// writes nothing.
int Report(const absl::Status& status, const Session& session, absl::string_view command);
// Returns the error for a flag, an argument or a file that the user must correct. Its exit code is kExitUsage.
absl::Status UsageError(absl::string_view message);
// Returns true if stderr is a terminal that can redraw a line.
bool FancyTerminal();

// Returns `text` quoted as one word of a shell command.
std::string ShellWord(absl::string_view text);

}  // namespace alpa::client
