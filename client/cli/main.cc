// alpa: the command-line client of an Alpa cluster.
#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <thread>

#include "absl/strings/str_cat.h"
#include "client/cli/command.h"
#include "client/cli/command_line.h"

namespace alpa::client {
namespace {

std::string Help(const std::vector<std::unique_ptr<Command>>& commands) {
  std::string out =
      "alpa: runs one-device JAX steps on many devices.\n"
      "\n"
      "Examples:\n"
      "  alpa run --standalone job --steps 100 --output out\n"
      "      run a job directory (alpa.save_job() writes one) on this machine alone\n"
      "  alpa submit job --steps 100 --output out --address 10.0.0.1:7400\n"
      "      run it on a cluster\n"
      "  alpa list\n"
      "      list the jobs of the cluster\n"
      "\n"
      "Usage: alpa COMMAND [flags]\n"
      "\n";
  for (const auto& command : commands) {
    absl::StrAppend(&out, "  ", command->name(), std::string(12 - command->name().size(), ' '), command->summary(),
                    "\n");
  }
  out +=
      "\n"
      "  alpa COMMAND --help explains a command. Every command takes -o table|json|jsonl and\n"
      "  --address HOST:PORT (or ALPA_ADDRESS; default 127.0.0.1:7400).\n"
      "  Data goes to stdout, messages go to stderr.\n"
      "\n"
      "Exit codes: 0 done; 1 the job failed or was stopped; 2 bad usage; 3 a daemon does not answer; 4 refused;\n"
      "  5 not found; 6 the wait timed out, the job continues; 7 no feasible plan;\n"
      "  130 interrupted, a submitted job continues.\n";
  return out;
}

int Usage(absl::string_view message, absl::string_view help) {
  Say(absl::StrCat("alpa: error: ", message));
  Say(absl::StrCat("  next: ", help));
  return kExitUsage;
}

// Starts a thread that handles SIGINT and SIGTERM. The first signal triggers `interruption`. The second signal ends the
// process.
void WatchSignals(Interruption* interruption) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);  // a write to a closed pipe fails with EPIPE and does not end the process
  std::thread([interruption, signals] {
    int number = 0;
    for (bool first = true; sigwait(&signals, &number) == 0; first = false) {
      if (!first) _exit(kExitInterrupted);
      interruption->Trigger();
    }
  }).detach();
}

int Main(int argc, char** argv) {
  // Turns off gRPC's log, because it reports every lost connection. The commands report the failures that matter.
  setenv("GRPC_VERBOSITY", "NONE", /*overwrite=*/0);
  static Interruption& interruption = *new Interruption;  // never destroyed, because the thread for signals uses it
  WatchSignals(&interruption);

  const std::vector<std::unique_ptr<Command>> commands = AllCommands();
  std::vector<std::string> names;
  for (const auto& command : commands) names.push_back(command->name());
  const absl::StatusOr<CommandLine> line = SplitCommandLine({argv + 1, argv + argc}, names);
  if (!line.ok()) return Usage(line.status().message(), "alpa --help");
  if (line->version || line->command.empty()) {
    Session session;
    Print(line->version ? absl::StrCat("alpa ", Version(), "\n") : Help(commands), session);
    return kExitDone;
  }
  Command& command =
      **std::find_if(commands.begin(), commands.end(), [&](const auto& c) { return c->name() == line->command; });
  command.session.interruption = &interruption;
  const std::unique_ptr<Flags> flags = FlagsOf(command);
  std::vector<const char*> arguments = {"alpa"};
  for (const std::string& argument : line->arguments) arguments.push_back(argument.c_str());
  std::string text;
  const auto outcome = flags->Parse(static_cast<int>(arguments.size()), arguments.data(), &text);
  if (!outcome.ok()) {
    return Usage(outcome.status().message(), absl::StrCat("alpa ", command.name(), " --help"));
  }
  if (*outcome == Flags::Outcome::kExit) {
    Print(text, command.session);
    return kExitDone;
  }
  return command.Run();
}

}  // namespace
}  // namespace alpa::client

int main(int argc, char** argv) { return alpa::client::Main(argc, argv); }
