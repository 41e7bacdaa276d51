// A program's flags: declared once, set from the command line, the environment, a file, or left at their default.
//
// Model:     Flags knows each setting by one name, "data-dir": flag --data-dir, environment ALPA_DATA_DIR, key data-dir
//            in the TOML file that --config names. The order is flag > environment > file > default; the default is what
//            the target variable held when it was declared. Every program also has --help, --version, --config FILE and
//            --print-config (each value and where it came from).
// Ownership: targets must outlive Parse; they are written by it alone.
// Threads:   not thread-safe; meant for the start of main().
// Errors:    kInvalidArgument naming the flag, key or variable, what was seen and what is allowed, and, for an unknown
//            name, the nearest known one. Targets are then unspecified: leave with kExitConfig (daemons) or kExitUsage.
// Start at:  Flags::Parse; for the daemons' main(), ParseOrExit.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace alpa {

// The version of all our programs, "0.1.0".
absl::string_view Version();

// Exit codes of the daemons, after sysexits.h. A supervisor must not restart a daemon that ended with kExitConfig.
inline constexpr int kExitOk = 0;
inline constexpr int kExitUnavailable = 69;
inline constexpr int kExitInternal = 70;
inline constexpr int kExitConfig = 78;

class Flags {
 public:
  // OK, or why the value is refused ("expected 1 to 64").
  template <typename T>
  using Check = std::function<absl::Status(const T&)>;
  enum class Outcome { kRun, kExit };  // kExit: help, version or configuration was printed; leave with 0

  struct Example {
    std::string command, meaning;
  };

  // `program` as it is typed ("alpa submit"), `summary` one sentence. Help shows the examples first.
  Flags(std::string program, std::string summary, std::vector<Example> examples = {});
  ~Flags();
  Flags(const Flags&) = delete;
  Flags& operator=(const Flags&) = delete;

  // Each declares one setting. `name` is "data-dir", or "output,o" with a one-letter form. `value_name` stands for the
  // value in the help. A bool takes "--name", "--name=true" and "--name=false". A list is given by repeating the flag,
  // or separated by commas; in the file it is an array of strings.
  void Add(const std::string& name, std::string* target, const std::string& value_name, const std::string& help,
           Check<std::string> check = {});
  void Add(const std::string& name, int64_t* target, const std::string& value_name, const std::string& help,
           Check<int64_t> check = {});
  void Add(const std::string& name, double* target, const std::string& value_name, const std::string& help,
           Check<double> check = {});
  void Add(const std::string& name, bool* target, const std::string& help);
  void Add(const std::string& name, std::vector<std::string>* target, const std::string& value_name,
           const std::string& help, Check<std::vector<std::string>> check = {});
  // An argument without a name, in the order of these calls; required ones first. Not in environment or file.
  void AddPositional(const std::string& name, std::string* target, const std::string& help, bool required = true);

  // Reads all sources. `argv[0]` is skipped. Text for people goes to `out`.
  absl::StatusOr<Outcome> Parse(int argc, const char* const* argv, std::string* out);
  // The same for a main(): prints, and leaves with kExitOk or kExitConfig where there is nothing to run.
  void ParseOrExit(int argc, const char* const* argv);

  // "flag", "environment", "file" or "default", after Parse. Empty for an unknown name.
  std::string SourceOf(absl::string_view name) const;
  std::vector<std::string> Names() const;  // of all settings, as declared
  std::string Help() const;
  // Lines "name = value  # source" that can be used as a configuration file.
  std::string PrintConfig() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Checks for Flags::Add.
Flags::Check<int64_t> Between(int64_t low, int64_t high);
Flags::Check<double> BetweenReal(double low, double high);
Flags::Check<std::string> OneOf(std::vector<std::string> allowed);

// The nearest of `known` to a mistyped `word`, or empty where none is near.
std::string DidYouMean(absl::string_view word, const std::vector<std::string>& known);

// What both daemons are told. `listen`'s default and `data_dir`'s may be set before Declare.
struct CommonFlags {
  std::string listen = "127.0.0.1:0";
  std::string data_dir;
  std::string port_file;
  std::string log_format = "text";
  std::string log_level = "info";
  double drain_timeout_seconds = 30;
  bool insecure = false;

  void Declare(Flags& flags);
  // After Parse: starts the log for `component` ("coordinator"), and refuses a listen address that is not loopback
  // without --insecure. Call CheckListen for further addresses.
  absl::Status Apply(absl::string_view component) const;
  absl::Status CheckListen(absl::string_view flag, absl::string_view address) const;
};

// "host:port" is a loopback address: 127.0.0.0/8, [::1], localhost or unix:.
bool IsLoopback(absl::string_view address);

// Writes {"grpc": ..., "http": ...} to `path` by way of a temporary file; an empty address is left out. An empty path
// does nothing.
absl::Status WritePortFile(const std::string& path, absl::string_view grpc, absl::string_view http);

}  // namespace alpa
