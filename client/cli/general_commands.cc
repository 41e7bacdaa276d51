// The commands alpa cluster, alpa version and alpa completion.

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/status.h"
#include "client/cli/command.h"
#include "client/cli/completion.h"
#include "client/cli/inventory_output.h"
#include "client/cli/output.h"
#include "client/lib/coordinator.h"
#include "cluster/toml/inventory_toml.h"
#include "cluster/wire/inventory_wire.h"

namespace alpa::client {
namespace {

class ClusterCommand : public Command {
 public:
  std::string name() const override { return "cluster"; }
  std::string summary() const override {
    return "Shows the workers, the job on each device, and the performance of the machines.";
  }
  std::vector<Flags::Example> examples() const override {
    return {{"alpa cluster", "one line per device, host and link"},
            {"alpa cluster --toml > cluster.toml", "describe the machines in a file for alpa plan make --cluster"},
            {"alpa cluster -o jsonl --address 10.0.0.1:7400", "another cluster, one JSON object per worker"}};
  }
  void Declare(Flags& flags) override {
    flags.Add("toml", &toml_, "print a TOML file for alpa plan make --cluster, with the machines whose workers are up");
  }
  int Run() override {
    auto cluster = Coordinator(session.address, session.interruption).GetCluster();
    if (!cluster.ok()) return Report(cluster.status(), session, name());
    auto inventory = cluster::FromProto(cluster->inventory());
    if (!inventory.ok()) return Report(Annotate(inventory.status(), "the coordinator's inventory"), session, name());
    if (toml_) return PrintToml(*inventory);
    if (session.format == "table") {
      Print(ClusterTable(*cluster), session);
      if (const std::string text = InventoryText(*inventory); !text.empty()) Print("\n" + text, session);
    } else if (session.json()) {
      Print(ClusterJson(*cluster) + "\n", session);
    } else {
      for (const proto::WorkerState& worker : cluster->workers()) Print(WorkerJson(worker) + "\n", session);
    }
    if (cluster->workers().empty()) {
      Say(absl::StrCat("no worker has registered; start one: alpa-worker --coordinator ", session.address,
                       " --name w0 --devices 2"));
    }
    return kExitDone;
  }

 private:
  int PrintToml(const cluster::Cluster& inventory) {
    if (session.format != "table") return Report(UsageError("--toml sets the format; leave out -o"), session, name());
    const auto text = cluster::WriteInventory(inventory);
    if (!text.ok()) return Report(text.status(), session, name());
    Print(*text, session);
    return kExitDone;
  }

  bool toml_ = false;
};

class VersionCommand : public Command {
 public:
  std::string name() const override { return "version"; }
  std::string summary() const override { return "Prints this program's version."; }
  std::vector<Flags::Example> examples() const override { return {{"alpa version", "works without a coordinator"}}; }
  void Declare(Flags&) override {}
  int Run() override {
    Print(session.format == "table" ? absl::StrCat("alpa ", Version(), "\n")
                                    : absl::StrCat("{\"version\":", JsonString(Version()), "}\n"),
          session);
    return kExitDone;
  }
};

class CompletionCommand : public Command {
 public:
  std::string name() const override { return "completion"; }
  std::string summary() const override { return "Prints a script with which a shell completes alpa commands."; }
  std::vector<Flags::Example> examples() const override {
    return {{"source <(alpa completion bash)", "put this line into ~/.bashrc; for zsh, write zsh and use ~/.zshrc"},
            {"alpa completion fish > ~/.config/fish/completions/alpa.fish", "install the script for fish"}};
  }
  void Declare(Flags& flags) override { flags.AddPositional("SHELL", &shell_, absl::StrJoin(Shells(), ", ")); }
  int Run() override {
    if (const absl::Status known = OneOf(Shells())(shell_); !known.ok()) {
      return Report(UsageError(absl::StrCat("SHELL '", shell_, "': ", known.message())), session, name());
    }
    std::vector<CommandWords> words;
    for (const auto& command : AllCommands()) {
      const std::vector<std::string> flags = FlagsOf(*command)->Names();
      const std::pair<std::string, std::string> parts = absl::StrSplit(command->name(), absl::MaxSplits(' ', 1));
      if (parts.second.empty() || words.empty() || words.back().name != parts.first) {
        words.push_back({parts.first, command->summary(), {}, {}});
      }
      // Two-word commands with the same first word share one entry. This entry lists the flags of all these commands.
      for (const std::string& flag : flags) {
        std::vector<std::string>& known = words.back().flags;
        if (std::find(known.begin(), known.end(), flag) == known.end()) known.push_back(flag);
      }
      if (!parts.second.empty()) words.back().arguments.push_back(parts.second);
      if (command->name() == name()) words.back().arguments = Shells();
    }
    Print(CompletionScript(shell_, words), session);
    return kExitDone;
  }

 private:
  static std::vector<std::string> Shells() { return {"bash", "zsh", "fish"}; }
  std::string shell_;
};

}  // namespace

std::vector<std::unique_ptr<Command>> NewGeneralCommands() {
  std::vector<std::unique_ptr<Command>> commands;
  commands.push_back(std::make_unique<ClusterCommand>());
  commands.push_back(std::make_unique<VersionCommand>());
  commands.push_back(std::make_unique<CompletionCommand>());
  return commands;
}

}  // namespace alpa::client
