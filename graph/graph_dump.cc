// graph-dump [--simplify] [--locations] [--cost] [--quiet] FILE: prints the graph of a serialized HloModuleProto.
// --cost adds the total cost. --quiet prints only the total cost.
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>

#include "graph/cost.h"
#include "graph/import.h"
#include "graph/print.h"
#include "graph/simplify.h"

int main(int argc, char** argv) {
  bool simplify = false, cost = false, quiet = false;
  alpa::graph::PrintOptions options;
  std::string file;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == "--simplify")
      simplify = true;
    else if (argument == "--locations")
      options.locations = true;
    else if (argument == "--cost")
      cost = true;
    else if (argument == "--quiet")
      quiet = true;
    else
      file = argument;
  }
  std::ifstream in(file, std::ios::binary);
  if (file.empty() || !in) {
    std::cerr << "usage: graph-dump [--simplify] [--locations] [--cost] [--quiet] FILE\n"
              << (file.empty() ? "" : "cannot read " + file + "\n");
    return 2;
  }
  const std::string bytes((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  absl::StatusOr<alpa::graph::Graph> graph = alpa::graph::ImportHlo(bytes);
  if (!graph.ok()) {
    std::cerr << graph.status() << "\n";
    return 1;
  }
  if (simplify) *graph = alpa::graph::Simplify(*graph);
  if (!quiet) std::cout << alpa::graph::Print(*graph, options);
  if (cost || quiet) {
    const alpa::graph::OpCost total = alpa::graph::CostOf(*graph);
    std::cout << "# " << graph->size() << " ops, " << total.flops << " FLOPs, " << total.bytes_read
              << " bytes read, " << total.bytes_written << " bytes written\n";
  }
  return 0;
}
