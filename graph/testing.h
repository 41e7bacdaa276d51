// Reads the files of graph/testdata in tests. make_testdata.py writes these files.
#pragma once

#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "graph/graph.h"
#include "gtest/gtest.h"

namespace alpa::graph::testing {

// Returns the content of a file. Tests run in the root of the source tree.
inline std::string ReadTestdata(const std::string& name) {
  std::ifstream in("graph/testdata/" + name, std::ios::binary);
  EXPECT_TRUE(in) << "graph/testdata/" << name << " is missing; run graph/testdata/make_testdata.py";
  return std::string((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
}

// Cuts `bytes` into arrays with the shapes of `values`. Records a test failure if the sizes differ.
inline std::vector<Literal> Unpack(const Graph& graph, const std::vector<ValueId>& values,
                                   const std::string& bytes) {
  std::vector<Literal> literals;
  size_t offset = 0;
  for (ValueId value : values) {
    const Shape& shape = graph.shape(value);
    std::vector<std::byte> part(static_cast<size_t>(shape.bytes()));
    if (offset + part.size() > bytes.size()) {
      ADD_FAILURE() << "too few bytes for " << shape.ToString();
      break;
    }
    std::memcpy(part.data(), bytes.data() + offset, part.size());
    offset += part.size();
    literals.emplace_back(shape, std::move(part));
  }
  EXPECT_EQ(offset, bytes.size());
  return literals;
}

inline int Count(const Graph& graph, Opcode opcode) {
  int count = 0;
  for (const Op& op : graph.ops()) count += op.opcode == opcode;
  return count;
}

}  // namespace alpa::graph::testing
