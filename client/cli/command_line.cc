#include "client/cli/command_line.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "base/config.h"
#include "base/status.h"

namespace alpa::client {
namespace {

bool Contains(const std::vector<std::string>& list, const std::string& word) {
  return std::find(list.begin(), list.end(), word) != list.end();
}

std::string Hint(const std::string& word, const std::vector<std::string>& known, absl::string_view prefix) {
  const std::string near = DidYouMean(word, known);
  return near.empty() ? "" : absl::StrCat("; did you mean '", prefix, near, "'?");
}

absl::Status UnknownCommand(const std::string& word, const std::vector<std::string>& commands) {
  return InvalidArgument("there is no command '%s'%s", word, Hint(word, commands, "alpa "));
}

// Reads the command name that begins at words[at], and moves `at` past the name. The name has one or two words. If the
// words request help for a group of commands ("plan --help"), returns an empty name.
absl::StatusOr<std::string> TakeCommand(const std::vector<std::string>& words, const std::vector<std::string>& commands,
                                        size_t& at) {
  std::string command = words[at++];
  if (Contains(commands, command)) return command;
  std::vector<std::string> group;
  for (const std::string& known : commands) {
    if (absl::StartsWith(known, command + " ")) group.push_back("alpa " + known);
  }
  if (group.empty()) return UnknownCommand(command, commands);
  if (at == words.size()) return InvalidArgument("alpa %s needs a subcommand: %s", command, absl::StrJoin(group, ", "));
  if (words[at] == "--help" || words[at] == "-h") return std::string();
  // `make` is the default of the group `plan`: "alpa plan --job job" means "alpa plan make --job job".
  if (absl::StartsWith(words[at], "-") && Contains(commands, command + " make")) return command + " make";
  command += " " + words[at++];
  if (!Contains(commands, command)) return UnknownCommand(command, commands);
  return command;
}

}  // namespace

absl::StatusOr<CommandLine> SplitCommandLine(const std::vector<std::string>& words,
                                             const std::vector<std::string>& commands) {
  static const std::vector<std::string> kWithValue = {"--address", "--format", "-o", "--config"};
  static const std::vector<std::string> kAlone = {"--print-config"};
  CommandLine line;
  std::vector<std::string> before;
  size_t at = 0;
  for (; at < words.size() && absl::StartsWith(words[at], "-"); ++at) {
    const std::string& word = words[at];
    const std::string name = word.substr(0, word.find('='));
    if (word == "--help" || word == "-h") return line;
    if (word == "--version") {
      line.version = true;
      return line;
    }
    const bool joined = name != word || (absl::StartsWith(word, "-o") && word.size() > 2);
    if (Contains(kAlone, name)) {
      before.push_back(word);
    } else if (Contains(kWithValue, name) || (joined && absl::StartsWith(word, "-o"))) {
      before.push_back(word);
      if (joined) continue;
      if (++at == words.size()) return InvalidArgument("%s needs a value", word);
      before.push_back(words[at]);
    } else {
      const std::vector<std::string> known = {"address", "format", "config", "help", "version", "print-config"};
      return InvalidArgument(
          "unknown flag '%s' before the command%s", name,
          Hint(std::string(absl::string_view(name).substr(
                   name.find_first_not_of('-') == std::string::npos ? name.size() : name.find_first_not_of('-'))),
               known, "--"));
    }
  }
  if (at == words.size()) {
    if (!before.empty()) return InvalidArgument("a command is missing after %s", before.back());
    return line;
  }
  if (words[at] == "help") {
    if (++at == words.size()) return line;
    ALPA_ASSIGN_OR_RETURN(line.command, TakeCommand(words, commands, at));
    if (!line.command.empty()) line.arguments = {"--help"};
    return line;
  }
  ALPA_ASSIGN_OR_RETURN(line.command, TakeCommand(words, commands, at));
  if (line.command.empty()) return line;
  line.arguments = std::move(before);
  line.arguments.insert(line.arguments.end(), words.begin() + static_cast<int64_t>(at), words.end());
  return line;
}

}  // namespace alpa::client
