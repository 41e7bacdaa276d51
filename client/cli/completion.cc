#include "client/cli/completion.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"

namespace alpa::client {
namespace {

std::string Bash(const std::vector<CommandWords>& commands) {
  std::string names, cases;
  for (const CommandWords& command : commands) {
    absl::StrAppend(&names, names.empty() ? "" : " ", command.name);
    absl::StrAppend(&cases, "    ", command.name, ") flags=\"",
                    absl::StrJoin(command.flags, " ", [](std::string* out, const std::string& f) { *out += "--" + f; }),
                    "\" words=\"", absl::StrJoin(command.arguments, " "), "\" ;;\n");
  }
  return absl::StrReplaceAll(R"(_alpa() {
  local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} command="" flags="" words="" word
  for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case " NAMES " in *" $word "*) command=$word; break ;; esac
  done
  case $before in
    -o|--format) COMPREPLY=($(compgen -W "table json jsonl" -- "$current")); return ;;
    --output|--config|--plan|--job) COMPREPLY=($(compgen -f -- "$current")); return ;;
  esac
  case $command in
CASES    *) COMPREPLY=($(compgen -W "NAMES help --address --format --config --help --version" -- "$current")); return ;;
  esac
  case $current in
    -*) COMPREPLY=($(compgen -W "$flags --config --print-config --help" -- "$current")) ;;
    *) if [ -n "$words" ] && [ "$before" = "$command" ]; then
        COMPREPLY=($(compgen -W "$words" -- "$current"))
      else
        COMPREPLY=($(compgen -f -- "$current"))
      fi ;;
  esac
}
complete -o filenames -F _alpa alpa
)",
                             {{"NAMES", names}, {"CASES", cases}});
}

std::string Quoted(absl::string_view text) { return absl::StrCat("'", absl::StrReplaceAll(text, {{"'", "\\'"}}), "'"); }

std::string Fish(const std::vector<CommandWords>& commands) {
  std::string out;
  for (const CommandWords& command : commands) {
    absl::StrAppend(&out, "complete -c alpa -n __fish_use_subcommand -f -a ", command.name, " -d ",
                    Quoted(command.summary), "\n");
    const std::string here = absl::StrCat("complete -c alpa -n '__fish_seen_subcommand_from ", command.name, "'");
    for (const std::string& flag : command.flags) absl::StrAppend(&out, here, " -l ", flag, "\n");
    if (!command.arguments.empty()) {
      absl::StrAppend(&out, here, " -f -a ", Quoted(absl::StrJoin(command.arguments, " ")), "\n");
    }
  }
  return out;
}

}  // namespace

std::string CompletionScript(absl::string_view shell, const std::vector<CommandWords>& commands) {
  if (shell == "fish") return "# alpa completion fish > ~/.config/fish/completions/alpa.fish\n" + Fish(commands);
  if (shell == "zsh") {
    return "# source <(alpa completion zsh)\nautoload -U +X bashcompinit && bashcompinit\n" + Bash(commands);
  }
  return "# source <(alpa completion bash)\n" + Bash(commands);
}

}  // namespace alpa::client
