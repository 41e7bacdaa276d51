// The flags of a program. The program declares each flag once. The user sets it on the command line, in the environment
// or in a file.
//
// Model:     Flags knows each setting by one name, such as "data-dir". The setting is flag --data-dir, environment
//            variable ALPA_DATA_DIR, and key data-dir in the TOML file that --config names. A flag overrides the
//            environment, the environment overrides the file, and the file overrides the default. The default is the
//            value of the target variable at the declaration. Every program also has --help, --version, --config FILE
//            and --print-config (which prints each value and its source).
// Ownership: targets must outlive Parse. Only Parse writes to the targets.
// Threads:   not thread-safe. Use Flags at the start of main().
// Errors:    kInvalidArgument names the flag, key or variable, the observed value and the allowed ones. For an unknown
//            name, the error suggests the nearest known name. After an error, the targets are unspecified, so the
//            program must exit. A daemon exits with kExitConfig, and the command line exits with kExitUsage
//            (client/lib/outcome.h).
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

// The version that all programs of this project share, such as "0.1.0".
absl::string_view Version();

// Exit codes of the daemons, with the values of sysexits.h. A supervisor must not restart a daemon that ended with
// kExitConfig.
inline constexpr int kExitOk = 0;
inline constexpr int kExitUnavailable = 69;
inline constexpr int kExitInternal = 70;
inline constexpr int kExitConfig = 78;

class Flags {
 public:
  // Returns OK, or an error that names the allowed values ("expected 1 to 64").
  template <typename T>
  using Check = std::function<absl::Status(const T&)>;
  enum class Outcome { kRun, kExit };  // kExit: print the help, version or configuration, then exit with status 0

  struct Example {
    std::string command, meaning;
  };

  // `program` is the command as the user types it ("alpa submit"). `summary` is one sentence. The help text shows the
  // examples first.
  Flags(std::string program, std::string summary, std::vector<Example> examples = {});
  ~Flags();
  Flags(const Flags&) = delete;
  Flags& operator=(const Flags&) = delete;

  // Each Add declares one setting. `name` is "data-dir", or "output,o" to add a one-letter form. The help text shows
  // `value_name` as a placeholder for the value. A bool accepts "--name", "--name=true" and "--name=false". For a list,
  // the user repeats the flag or separates the elements with commas. In the file, a list is an array of plain values.
  void Add(const std::string& name, std::string* target, const std::string& value_name, const std::string& help,
           Check<std::string> check = {});
  void Add(const std::string& name, int64_t* target, const std::string& value_name, const std::string& help,
           Check<int64_t> check = {});
  void Add(const std::string& name, double* target, const std::string& value_name, const std::string& help,
           Check<double> check = {});
  void Add(const std::string& name, bool* target, const std::string& help);
  void Add(const std::string& name, std::vector<std::string>* target, const std::string& value_name,
           const std::string& help, Check<std::vector<std::string>> check = {});
  // Declares a positional argument. Positional arguments follow the order of these calls. Declare required arguments
  // first. The environment and the file cannot set them.
  void AddPositional(const std::string& name, std::string* target, const std::string& help, bool required = true);

  // Reads all sources, and skips `argv[0]`. If the outcome is kExit, `out` receives the text to print.
  absl::StatusOr<Outcome> Parse(int argc, const char* const* argv, std::string* out);
  // Calls Parse, for use in main(). On an error, prints the message and exits with kExitConfig. If the outcome is
  // kExit, prints the text and exits with kExitOk.
  void ParseOrExit(int argc, const char* const* argv);

  // Returns the source of a setting's value after Parse: "flag", "environment", "file" or "default". Returns an empty
  // string for an unknown name.
  std::string SourceOf(absl::string_view name) const;
  std::vector<std::string> Names() const;  // the names of all settings, in order of declaration
  std::string Help() const;
  // Returns one line "name = value  # source" per setting. The lines are a valid configuration file.
  std::string PrintConfig() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Checks for Flags::Add. Both ends of a range are allowed.
Flags::Check<int64_t> Between(int64_t low, int64_t high);
Flags::Check<double> BetweenReal(double low, double high);
Flags::Check<std::string> OneOf(std::vector<std::string> allowed);

// Returns the name in `known` that is nearest to a mistyped `word`, or an empty string if no name is near.
std::string DidYouMean(absl::string_view word, const std::vector<std::string>& known);

// The settings that both daemons share. To change a default, such as that of `listen`, assign it before Declare.
struct CommonFlags {
  std::string listen = "127.0.0.1:0";
  std::string data_dir;
  std::string port_file;
  std::string log_format = "text";
  std::string log_level = "info";
  double drain_timeout_seconds = 30;
  bool insecure = false;

  void Declare(Flags& flags);
  // Call after Parse. Starts the log for `component` ("coordinator") and checks `listen` with CheckListen.
  absl::Status Apply(absl::string_view component) const;
  // Returns kInvalidArgument if `address` is not HOST:PORT. Without --insecure, also returns kInvalidArgument if
  // `address` is not a loopback address. Call this function for each address other than `listen`. `flag` is the name of
  // the flag that sets the address.
  absl::Status CheckListen(absl::string_view flag, absl::string_view address) const;
};

// Returns whether `address` is reachable only from this machine. Its host must be in 127.0.0.0/8, [::1] or localhost,
// or the address must begin with "unix:".
bool IsLoopback(absl::string_view address);

// Writes {"grpc": ..., "http": ...} to a temporary file and renames it to `path`. Omits an empty address. Does nothing
// if `path` is empty. Returns kUnavailable if the file cannot be written.
absl::Status WritePortFile(const std::string& path, absl::string_view grpc, absl::string_view http);

}  // namespace alpa
