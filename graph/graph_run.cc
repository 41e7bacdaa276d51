// graph-run FILE INPUTS OUTPUTS [--simplify]: evaluates a serialized HloModuleProto with the reference evaluator. The
// file INPUTS holds the raw row-major bytes of all parameters, one after the other. The program writes the bytes of all
// results to the file OUTPUTS, also row-major and one after the other.
#include <cstring>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

#include "graph/evaluator.h"
#include "graph/import.h"
#include "graph/simplify.h"
#include "graph/verify.h"

namespace {

std::string ReadFile(const char* path) {
  std::ifstream in(path, std::ios::binary);
  return std::string((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
}

int Fail(const std::string& message) {
  std::cerr << message << "\n";
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  using namespace alpa::graph;
  if (argc < 4) return Fail("usage: graph-run FILE INPUTS OUTPUTS [--simplify]");
  absl::StatusOr<Graph> graph = ImportHlo(ReadFile(argv[1]));
  if (!graph.ok()) return Fail(graph.status().ToString());
  if (argc > 4 && std::string(argv[4]) == "--simplify") {
    *graph = Simplify(*graph);
    if (const absl::Status status = Verify(*graph); !status.ok()) return Fail(status.ToString());
  }
  const std::string inputs = ReadFile(argv[2]);
  std::vector<Literal> arguments;
  size_t offset = 0;
  for (ValueId parameter : graph->parameters()) {
    const Shape& shape = graph->shape(parameter);
    const size_t size = static_cast<size_t>(shape.bytes());
    if (size > inputs.size() - offset) return Fail("the file INPUTS has fewer bytes than the parameters of FILE");
    std::vector<std::byte> bytes(size);
    std::memcpy(bytes.data(), inputs.data() + offset, size);
    arguments.emplace_back(shape, std::move(bytes));
    offset += size;
  }
  if (offset != inputs.size()) return Fail("the file INPUTS has more bytes than the parameters of FILE");
  const absl::StatusOr<std::vector<Literal>> results = Evaluate(*graph, arguments);
  if (!results.ok()) return Fail(results.status().ToString());
  std::ofstream out(argv[3], std::ios::binary);
  for (const Literal& result : *results) {
    out.write(reinterpret_cast<const char*>(result.bytes().data()),
              static_cast<std::streamsize>(result.bytes().size()));
  }
  return out ? 0 : Fail("cannot write the file OUTPUTS");
}
