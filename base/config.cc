#include "base/config.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <utility>

#include <CLI/CLI.hpp>
#include <toml++/toml.h>
#include <unistd.h>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "base/log.h"
#include "base/status.h"

#ifndef ALPA_VERSION
#define ALPA_VERSION "unknown"
#endif

namespace alpa {
namespace {

enum class Source { kDefault, kFile, kEnvironment, kFlag };

absl::string_view NameOf(Source source) {
  switch (source) {
    case Source::kDefault: return "default";
    case Source::kFile: return "file";
    case Source::kEnvironment: return "environment";
    case Source::kFlag: return "flag";
  }
  return "?";
}

// One declared setting of any type. `assign` parses the value from one text, or from several texts for a list.
struct Setting {
  std::string name, letter, value_name, help;
  bool is_bool = false, is_list = false;
  std::function<absl::Status(const std::vector<std::string>&)> assign;
  std::function<std::string()> toml;  // the current value as TOML
  Source source = Source::kDefault;
  std::vector<std::string> given;  // values on the command line
  CLI::Option* option = nullptr;

  std::string env() const { return "ALPA_" + absl::AsciiStrToUpper(absl::StrReplaceAll(name, {{"-", "_"}})); }
};

struct Positional {
  std::string name, help;
  std::string* target = nullptr;
  bool required = true;
};

std::string Quote(const std::string& text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (static_cast<unsigned char>(c) < 0x20) {
      absl::StrAppendFormat(&out, "\\u%04x", static_cast<int>(c));
    } else {
      out += c;
    }
  }
  return out + "\"";
}

std::string Real(double value) {
  std::string text = absl::StrFormat("%.15g", value);
  return text.find_first_of(".en") == std::string::npos ? text + ".0" : text;
}

size_t EditDistance(absl::string_view a, absl::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i);
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t cost = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = std::exchange(row[j], std::min({row[j] + 1, row[j - 1] + 1, cost}));
    }
  }
  return row[b.size()];
}

template <typename T>
absl::Status Checked(const Flags::Check<T>& check, const T& value) {
  return check ? check(value) : absl::OkStatus();
}

std::string Hint(absl::string_view word, const std::vector<std::string>& known, absl::string_view prefix = "") {
  const std::string near = DidYouMean(word, known);
  return near.empty() ? "" : absl::StrCat("; did you mean '", prefix, near, "'?");
}

// Converts a TOML value to the text that the same setting takes on the command line. Returns nothing for a value of the
// wrong kind, such as a table or a date.
std::optional<std::vector<std::string>> TextOf(const toml::node& node, bool is_list) {
  if (auto v = node.value_exact<std::string>()) return std::vector<std::string>{*v};
  if (auto v = node.value_exact<bool>()) return std::vector<std::string>{*v ? "true" : "false"};
  if (auto v = node.value_exact<int64_t>()) return std::vector<std::string>{absl::StrCat(*v)};
  if (auto v = node.value_exact<double>()) return std::vector<std::string>{Real(*v)};
  if (const toml::array* array = node.as_array(); array != nullptr && is_list) {
    std::vector<std::string> values;
    for (const toml::node& element : *array) {
      auto text = TextOf(element, false);
      if (!text.has_value()) return std::nullopt;
      values.push_back(text->front());
    }
    return values;
  }
  return std::nullopt;
}

}  // namespace

struct Flags::Impl {
  std::string program, summary;
  std::vector<Example> examples;
  std::vector<std::unique_ptr<Setting>> settings;
  std::vector<Positional> positionals;

  Setting& Declare(const std::string& names, const std::string& value_name, const std::string& help) {
    auto setting = std::make_unique<Setting>();
    std::vector<std::string> parts = absl::StrSplit(names, ',');
    setting->name = parts[0];
    if (parts.size() > 1) setting->letter = parts[1];
    setting->value_name = value_name;
    setting->help = help;
    ALPA_CHECK(Find(setting->name) == nullptr);
    settings.push_back(std::move(setting));
    return *settings.back();
  }
  Setting* Find(absl::string_view name) const {
    for (const auto& setting : settings) {
      if (setting->name == name) return setting.get();
    }
    return nullptr;
  }
  std::vector<std::string> Names() const {
    std::vector<std::string> names;
    for (const auto& setting : settings) names.push_back(setting->name);
    return names;
  }
  absl::Status ParseArguments(int argc, const char* const* argv, bool* help, bool* version, bool* print,
                              std::string* config);
  absl::Status ReadFile(const std::string& path);
  absl::Status ReadEnvironment();
};

absl::string_view Version() { return ALPA_VERSION; }

Flags::Flags(std::string program, std::string summary, std::vector<Example> examples)
    : impl_(std::make_unique<Impl>()) {
  impl_->program = std::move(program);
  impl_->summary = std::move(summary);
  impl_->examples = std::move(examples);
}
Flags::~Flags() = default;

void Flags::Add(const std::string& name, std::string* target, const std::string& value_name, const std::string& help,
                Check<std::string> check) {
  Setting& setting = impl_->Declare(name, value_name, help);
  setting.assign = [target, check](const std::vector<std::string>& text) {
    *target = text.front();
    return Checked(check, *target);
  };
  setting.toml = [target] { return Quote(*target); };
}

void Flags::Add(const std::string& name, int64_t* target, const std::string& value_name, const std::string& help,
                Check<int64_t> check) {
  Setting& setting = impl_->Declare(name, value_name, help);
  setting.assign = [target, check](const std::vector<std::string>& text) {
    if (!absl::SimpleAtoi(text.front(), target)) return InvalidArgument("expected a whole number");
    return Checked(check, *target);
  };
  setting.toml = [target] { return absl::StrCat(*target); };
}

void Flags::Add(const std::string& name, double* target, const std::string& value_name, const std::string& help,
                Check<double> check) {
  Setting& setting = impl_->Declare(name, value_name, help);
  setting.assign = [target, check](const std::vector<std::string>& text) {
    if (!absl::SimpleAtod(text.front(), target)) return InvalidArgument("expected a number");
    return Checked(check, *target);
  };
  setting.toml = [target] { return Real(*target); };
}

void Flags::Add(const std::string& name, bool* target, const std::string& help) {
  Setting& setting = impl_->Declare(name, "", help);
  setting.is_bool = true;
  setting.assign = [target](const std::vector<std::string>& text) {
    if (text.front() != "true" && text.front() != "false" && text.front() != "1" && text.front() != "0") {
      return InvalidArgument("expected true or false");
    }
    *target = text.front() == "true" || text.front() == "1";
    return absl::OkStatus();
  };
  setting.toml = [target] { return std::string(*target ? "true" : "false"); };
}

void Flags::Add(const std::string& name, std::vector<std::string>* target, const std::string& value_name,
                const std::string& help, Check<std::vector<std::string>> check) {
  Setting& setting = impl_->Declare(name, value_name, help);
  setting.is_list = true;
  setting.assign = [target, check](const std::vector<std::string>& text) {
    target->clear();
    for (const std::string& part : text) {
      for (absl::string_view item : absl::StrSplit(part, ',', absl::SkipEmpty())) target->emplace_back(item);
    }
    return Checked(check, *target);
  };
  setting.toml = [target] {
    return "[" + absl::StrJoin(*target, ", ", [](std::string* out, const std::string& s) { *out += Quote(s); }) + "]";
  };
}

void Flags::AddPositional(const std::string& name, std::string* target, const std::string& help, bool required) {
  impl_->positionals.push_back({name, help, target, required});
}

absl::Status Flags::Impl::ParseArguments(int argc, const char* const* argv, bool* help, bool* version, bool* print,
                                         std::string* config) {
  CLI::App app;
  app.set_help_flag("");
  app.allow_extras(true);
  app.add_flag("-h,--help", *help);
  app.add_flag("--version", *version);
  app.add_flag("--print-config", *print);
  app.add_option("--config", *config);
  std::vector<std::string> bool_text(settings.size());
  for (auto& setting : settings) {
    setting->source = Source::kDefault;
    setting->given.clear();
  }
  for (size_t i = 0; i < settings.size(); ++i) {
    Setting& setting = *settings[i];
    const std::string names = (setting.letter.empty() ? "" : "-" + setting.letter + ",") + "--" + setting.name;
    if (setting.is_bool) {
      setting.option = app.add_flag(names, bool_text[i]);
    } else {
      // Each use of the flag takes one value. The word after that value is a positional argument.
      setting.option = app.add_option(names, setting.given)->expected(1)->allow_extra_args(false)->take_all();
    }
  }
  std::vector<std::string> placed;
  constexpr int kAnyNumber = 1 << 20;  // maximum number of words; they are checked against `positionals` below
  if (!positionals.empty()) app.add_option("arguments", placed)->expected(0, kAnyNumber);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return InvalidArgument("%s", e.what());
  }
  if (*help || *version) return absl::OkStatus();
  for (const std::string& extra : app.remaining()) {
    if (extra == "--") continue;
    if (extra.size() < 2 || extra[0] != '-') {
      return InvalidArgument("unexpected argument '%s'", extra);
    }
    const std::string word(absl::StripPrefix(absl::StripPrefix(extra.substr(0, extra.find('=')), "-"), "-"));
    std::vector<std::string> known = Names();
    for (const char* own : {"help", "version", "print-config", "config"}) known.push_back(own);
    return InvalidArgument("unknown flag '%s'%s", extra.substr(0, extra.find('=')), Hint(word, known, "--"));
  }
  for (size_t i = 0; i < settings.size(); ++i) {
    Setting& setting = *settings[i];
    if (setting.option->count() == 0) continue;
    setting.source = Source::kFlag;
    if (setting.is_bool) setting.given = {bool_text[i]};
    if (!setting.is_list && setting.given.size() > 1) {
      return InvalidArgument("--%s is given %d times; it takes one value", setting.name, setting.given.size());
    }
    if (absl::Status s = setting.assign(setting.given); !s.ok()) {
      return InvalidArgument("--%s '%s': %s", setting.name, absl::StrJoin(setting.given, ","), s.message());
    }
  }
  if (*print) return absl::OkStatus();
  if (placed.size() > positionals.size()) {
    return InvalidArgument("unexpected argument '%s'", placed[positionals.size()]);
  }
  for (size_t i = 0; i < positionals.size(); ++i) {
    if (i < placed.size()) {
      *positionals[i].target = placed[i];
    } else if (positionals[i].required) {
      return InvalidArgument("%s is missing: %s", positionals[i].name, positionals[i].help);
    }
  }
  return absl::OkStatus();
}

absl::Status Flags::Impl::ReadEnvironment() {
  for (auto& setting : settings) {
    if (setting->source == Source::kFlag) continue;
    const char* value = std::getenv(setting->env().c_str());
    if (value == nullptr) continue;
    setting->source = Source::kEnvironment;
    if (absl::Status s = setting->assign({value}); !s.ok()) {
      return InvalidArgument("environment %s='%s': %s", setting->env(), value, s.message());
    }
  }
  return absl::OkStatus();
}

absl::Status Flags::Impl::ReadFile(const std::string& path) {
  toml::table table;
  try {
    table = toml::parse_file(path);
  } catch (const toml::parse_error& e) {
    return InvalidArgument("configuration file %s, line %d: %s", path, e.source().begin.line, e.description());
  } catch (const std::exception& e) {
    return InvalidArgument("configuration file %s: %s", path, e.what());
  }
  for (const auto& [key, node] : table) {
    const std::string name(key.str());
    Setting* setting = Find(name);
    if (setting == nullptr) {
      return InvalidArgument("configuration file %s, line %d: unknown key '%s'%s", path, node.source().begin.line, name,
                             Hint(name, Names()));
    }
    std::optional<std::vector<std::string>> text = TextOf(node, setting->is_list);
    if (!text.has_value()) {
      return InvalidArgument("configuration file %s, line %d: '%s' must be a plain value%s", path,
                             node.source().begin.line, name, setting->is_list ? " or a list of plain values" : "");
    }
    if (setting->source != Source::kDefault) continue;
    setting->source = Source::kFile;
    if (absl::Status s = setting->assign(*text); !s.ok()) {
      return InvalidArgument("configuration file %s, line %d: %s = '%s': %s", path, node.source().begin.line, name,
                             absl::StrJoin(*text, ","), s.message());
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<Flags::Outcome> Flags::Parse(int argc, const char* const* argv, std::string* out) {
  bool help = false, version = false, print = false;
  std::string config;
  ALPA_RETURN_IF_ERROR(impl_->ParseArguments(argc, argv, &help, &version, &print, &config));
  if (help) {
    *out = Help();
    return Outcome::kExit;
  }
  if (version) {
    *out = absl::StrCat(impl_->program, " ", Version(), "\n");
    return Outcome::kExit;
  }
  ALPA_RETURN_IF_ERROR(impl_->ReadEnvironment());
  if (const char* value = std::getenv("ALPA_CONFIG"); config.empty() && value != nullptr) config = value;
  if (!config.empty()) ALPA_RETURN_IF_ERROR(impl_->ReadFile(config));
  if (print) {
    *out = PrintConfig();
    return Outcome::kExit;
  }
  return Outcome::kRun;
}

void Flags::ParseOrExit(int argc, const char* const* argv) {
  std::string text;
  absl::StatusOr<Outcome> outcome = Parse(argc, argv, &text);
  if (!outcome.ok()) {
    std::fprintf(stderr, "%s: %s\nTry: %s --help\n", impl_->program.c_str(),
                 std::string(outcome.status().message()).c_str(), impl_->program.c_str());
    std::exit(kExitConfig);
  }
  if (*outcome == Outcome::kExit) {
    std::fputs(text.c_str(), stdout);
    std::exit(kExitOk);
  }
}

std::string Flags::SourceOf(absl::string_view name) const {
  const Setting* setting = impl_->Find(name);
  return setting == nullptr ? "" : std::string(NameOf(setting->source));
}

std::vector<std::string> Flags::Names() const { return impl_->Names(); }

std::string Flags::PrintConfig() const {
  std::string out;
  for (const auto& setting : impl_->settings) {
    std::string source(NameOf(setting->source));
    if (setting->source == Source::kEnvironment) source += " " + setting->env();
    absl::StrAppend(&out, setting->name, " = ", setting->toml(), "  # ", source, "\n");
  }
  return out;
}

std::string Flags::Help() const {
  std::string out = absl::StrCat(impl_->program, ": ", impl_->summary, "\n");
  if (!impl_->examples.empty()) {
    out += "\nExamples:\n";
    for (const Example& e : impl_->examples) absl::StrAppend(&out, "  ", e.command, "\n      ", e.meaning, "\n");
  }
  absl::StrAppend(&out, "\nUsage: ", impl_->program);
  for (const Positional& p : impl_->positionals) {
    absl::StrAppend(&out, p.required ? " " : " [", p.name, p.required ? "" : "]");
  }
  out += " [flags]\n";
  std::vector<std::pair<std::string, std::string>> rows;
  for (const Positional& p : impl_->positionals) rows.emplace_back(p.name, p.help);
  for (const auto& s : impl_->settings) {
    std::string left = (s->letter.empty() ? "    " : "-" + s->letter + ", ") + "--" + s->name;
    if (!s->value_name.empty()) left += " " + s->value_name;
    std::string right = s->help;
    const std::string value = s->toml();
    if (!s->is_bool && value != "\"\"" && value != "[]") absl::StrAppend(&right, " (", value, ")");
    rows.emplace_back(left, right);
  }
  rows.emplace_back("    --config FILE", "read settings from a TOML file");
  rows.emplace_back("    --print-config", "print every setting with its source, then exit");
  rows.emplace_back("    --version", "print the version, then exit");
  rows.emplace_back("-h, --help", "print this help, then exit");
  size_t width = 0;
  for (const auto& [left, right] : rows) width = std::max(width, left.size());
  out += "\n";
  for (const auto& [left, right] : rows)
    absl::StrAppend(&out, "  ", left, std::string(width + 2 - left.size(), ' '), right, "\n");
  out += "\nEvery flag can also be set as ALPA_<NAME> in the environment or in the --config file.\n";
  return out;
}

Flags::Check<int64_t> Between(int64_t low, int64_t high) {
  return [=](const int64_t& value) {
    return value >= low && value <= high ? absl::OkStatus() : InvalidArgument("expected %d to %d", low, high);
  };
}

Flags::Check<double> BetweenReal(double low, double high) {
  return [=](const double& value) {
    return value >= low && value <= high ? absl::OkStatus() : InvalidArgument("expected %g to %g", low, high);
  };
}

Flags::Check<std::string> OneOf(std::vector<std::string> allowed) {
  return [allowed = std::move(allowed)](const std::string& value) {
    if (std::find(allowed.begin(), allowed.end(), value) != allowed.end()) return absl::OkStatus();
    return InvalidArgument("expected %s%s", absl::StrJoin(allowed, ", "), Hint(value, allowed));
  };
}

std::string DidYouMean(absl::string_view word, const std::vector<std::string>& known) {
  std::string best;
  size_t best_distance = std::max<size_t>(2, word.size() / 3) + 1;
  for (const std::string& candidate : known) {
    // If the edit distance is at least the length of the name, the two words differ too much for a typing error.
    const size_t distance = EditDistance(word, candidate);
    if (distance < best_distance && distance < candidate.size()) {
      best_distance = distance;
      best = candidate;
    }
  }
  return best;
}

void CommonFlags::Declare(Flags& flags) {
  flags.Add("listen", &listen, "HOST:PORT", "address to serve gRPC on; port 0 picks a free port");
  flags.Add("data-dir", &data_dir, "DIR", "directory for the daemon's files; empty: a temporary directory");
  flags.Add("port-file", &port_file, "FILE", "once listening, write the addresses in use to this file as JSON");
  flags.Add("insecure", &insecure, "allow unauthenticated access from other machines");
  flags.Add("drain-timeout", &drain_timeout_seconds, "SECONDS", "how long SIGTERM waits for running steps",
            BetweenReal(0, 86400));
  flags.Add("log-format", &log_format, "text|json", "format of the log on stderr", OneOf({"text", "json"}));
  flags.Add("log-level", &log_level, "LEVEL", "lowest level to log: debug, info, warning, error",
            OneOf({"debug", "info", "warning", "error"}));
}

absl::Status CommonFlags::Apply(absl::string_view component) const {
  ALPA_RETURN_IF_ERROR(StartLog({.format = log_format, .level = log_level, .component = std::string(component)}));
  return CheckListen("listen", listen);
}

absl::Status CommonFlags::CheckListen(absl::string_view flag, absl::string_view address) const {
  const size_t colon = address.rfind(':');
  int port = -1;
  if (!absl::StartsWith(address, "unix:") &&
      (colon == absl::string_view::npos || colon == 0 || !absl::SimpleAtoi(address.substr(colon + 1), &port) ||
       port < 0 || port > 65535)) {
    return InvalidArgument("--%s '%s': expected HOST:PORT with a port from 0 to 65535", flag, address);
  }
  if (insecure || IsLoopback(address)) return absl::OkStatus();
  return InvalidArgument(
      "--%s '%s' is reachable from other machines, and callers are not authenticated; listen on 127.0.0.1, or pass "
      "--insecure",
      flag, address);
}

bool IsLoopback(absl::string_view address) {
  if (absl::StartsWith(address, "unix:")) return true;
  absl::string_view host = address.substr(0, address.rfind(':'));
  if (host == "localhost" || host == "[::1]") return true;
  std::vector<absl::string_view> parts = absl::StrSplit(host, '.');
  int value = 0;
  return parts.size() == 4 && parts[0] == "127" && std::all_of(parts.begin(), parts.end(), [&](absl::string_view part) {
    return !part.empty() && part.size() <= 3 && absl::SimpleAtoi(part, &value) && value >= 0 && value <= 255;
  });
}

absl::Status WritePortFile(const std::string& path, absl::string_view grpc, absl::string_view http) {
  if (path.empty()) return absl::OkStatus();
  std::vector<std::string> fields;
  if (!grpc.empty()) fields.push_back(absl::StrCat("\"grpc\":\"", grpc, "\""));
  if (!http.empty()) fields.push_back(absl::StrCat("\"http\":\"", http, "\""));
  const std::string temporary = absl::StrCat(path, ".tmp.", getpid());
  std::ofstream file(temporary, std::ios::trunc);
  file << "{" << absl::StrJoin(fields, ",") << "}\n";
  file.close();
  std::error_code error;
  if (file) std::filesystem::rename(temporary, path, error);
  if (!file || error) {
    std::filesystem::remove(temporary, error);
    return absl::UnavailableError(
        absl::StrCat("cannot write the port file ", path, "; check that its directory exists and is writable"));
  }
  return absl::OkStatus();
}

}  // namespace alpa
