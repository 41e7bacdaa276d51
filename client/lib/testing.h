// Helpers for the tests of this folder. They make temporary folders, and job directories like those of alpa.save_job().
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace alpa::client {

// A new temporary folder. The destructor removes the folder and its content.
class Folder {
 public:
  Folder() {
    std::string name = ::testing::TempDir() + "/alpa-client-XXXXXX";
    if (mkdtemp(name.data()) == nullptr) std::abort();
    path_ = name;
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  std::string path(absl::string_view name = "") const { return absl::StrCat(path_, name.empty() ? "" : "/", name); }
  std::string Write(absl::string_view name, absl::string_view content) const {
    std::ofstream(path(name), std::ios::binary) << content;
    return path(name);
  }
  std::string Read(absl::string_view name) const {
    std::ifstream file(path(name), std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(file), {});
  }
  size_t size() const { return static_cast<size_t>(std::distance(std::filesystem::directory_iterator(path_), {})); }

 private:
  std::string path_;
};

// Returns the bytes of a safetensors file with this header and data.
inline std::string Safetensors(absl::string_view header, absl::string_view data) {
  std::string out(8, '\0');
  for (int i = 0; i < 8; ++i) out[i] = static_cast<char>(header.size() >> (8 * i));
  return absl::StrCat(out, header, data);
}

// The content of job.json for a step. Its state leaf "state['w']" is f32[2], its batch leaf "batch" is s32[], and its
// aux leaf "aux['loss']" is f32[].
inline constexpr char kJobJson[] = R"({
 "version": 1, "name": "a step",
 "inputs": [{"kind": "state", "path": "state['w']", "dtype": "f32", "shape": [2]},
            {"kind": "batch", "path": "batch", "dtype": "s32", "shape": []}],
 "outputs": [{"kind": "state", "path": "state['w']", "state_input": 0, "dtype": "f32", "shape": [2]},
             {"kind": "aux", "path": "aux['loss']", "state_input": -1, "dtype": "f32", "shape": []}],
 "plan": {"devices": 2, "data_parallel": 2, "batch_dims": [{"leaf": 0, "dim": 0}], "statistics": "local"},
 "batches": 2
})";

inline void WriteJob(const Folder& folder) {
  folder.Write("job.json", kJobJson);
  folder.Write("program.hlo.pb", "\x0a\x04step");  // an HLO module named "step"
  folder.Write("state.safetensors",
               Safetensors(R"({"state['w']":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", "abcdefgh"));
  for (const char* i : {"0", "1"}) {
    folder.Write(absl::StrCat("batch-0000", i, ".safetensors"),
                 Safetensors(R"({"batch":{"dtype":"I32","shape":[],"data_offsets":[0,4]}})", absl::StrCat(i, "bcd")));
  }
}

}  // namespace alpa::client
