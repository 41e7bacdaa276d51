#include "client/cli/command.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "client/cli/output.h"

namespace alpa::client {
namespace {

bool Coloured() {
  const char* no_colour = std::getenv("NO_COLOR");
  return FancyTerminal() && (no_colour == nullptr || *no_colour == 0);
}

}  // namespace

void Session::Declare(Flags& flags) {
  flags.Add("address", &address, "HOST:PORT", "the coordinator's address");
  flags.Add("format,o", &format, "FORM", "format of stdout: table, json or jsonl",
            OneOf({"table", "json", "jsonl"}));
}

std::vector<std::unique_ptr<Command>> AllCommands() {
  std::vector<std::unique_ptr<Command>> commands;
  commands.push_back(NewRunCommand());
  commands.push_back(NewSubmitCommand());
  for (auto& command : NewJobCommands()) commands.push_back(std::move(command));
  for (auto& command : NewPlanCommands()) commands.push_back(std::move(command));
  for (auto& command : NewGeneralCommands()) commands.push_back(std::move(command));
  return commands;
}

std::unique_ptr<Flags> FlagsOf(Command& command) {
  auto flags = std::make_unique<Flags>(absl::StrCat("alpa ", command.name()), command.summary(), command.examples());
  command.Declare(*flags);
  command.session.Declare(*flags);
  return flags;
}

void Print(absl::string_view text, const Session& session) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  if (std::fflush(stdout) == 0) return;
  if (session.interruption != nullptr && !session.interruption->triggered()) {
    if (errno != EPIPE) Say(absl::StrCat("alpa: cannot write to stdout: ", std::strerror(errno)));
    session.interruption->Trigger();
  }
}

void Say(absl::string_view line) { std::fprintf(stderr, "%.*s\n", static_cast<int>(line.size()), line.data()); }

int Report(const absl::Status& status, const Session& session, absl::string_view command) {
  if (status.ok()) return kExitDone;
  const bool colour = Coloured();
  Say(absl::StrCat("alpa ", command, ": ", colour ? "\033[31m" : "", "error", colour ? "\033[0m" : "", ": ",
                   Harmless(status.message())));
  std::string next = NextStep(status, session.address);
  if (next.empty() && ExitCodeOf(status) == kExitUsage) next = absl::StrCat("alpa ", command, " --help");
  if (!next.empty()) Say(absl::StrCat("  next: ", absl::StrReplaceAll(next, {{"\n", "\n        "}})));
  return ExitCodeOf(status);
}

absl::Status UsageError(absl::string_view message) {
  return WithReason(absl::InvalidArgumentError(message), kReasonUsage);
}

bool FancyTerminal() {
  const char* term = std::getenv("TERM");
  return isatty(STDERR_FILENO) == 1 && term != nullptr && *term != 0 && std::strcmp(term, "dumb") != 0;
}

std::string ShellWord(absl::string_view text) {
  constexpr absl::string_view kPlain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-./:,=+@%";
  if (!text.empty() && text.find_first_not_of(kPlain) == absl::string_view::npos) return std::string(text);
  return absl::StrCat("'", absl::StrReplaceAll(text, {{"'", "'\\''"}}), "'");
}

}  // namespace alpa::client
